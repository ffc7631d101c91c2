"""Turns any HTML into its simple form: few elements, and styles that cannot hide,
cover, cut off, move or add words.

What may be written is a short list. Style sheets, positions, floats and sizes that cut
off are not in it. Words that an element hides are removed and named, so that nobody
reads words that others do not see. A simple form is its own simple form.
"""

import html
import re
from dataclasses import dataclass
from functools import cache
from unicodedata import bidirectional

from simple_form.colours import (
    READABLE,
    colour_of,
    contrast,
    readable,
)
from simple_form.declarations import (
    OF_INSIDE,
    draws_other_letters,
    held_by,
    is_usual,
    pixels,
)
from simple_form.elements import TAGS, odd_about, tag_of
from simple_form.exact import is_written
from simple_form.html_reading import BLANKS, VOID, Token, Values, ascii_lower
from simple_form.looks import BLOCKS, MOST_RAISED, TOO_WIDE, Look, look_inside, style_of
from simple_form.result import (
    HIDDEN,
    LEFT_OUT,
    LOOK,
    PREHEADER,
    SHOWN,
    Change,
    SimpleForm,
    TooComplex,
)
from simple_form.tree import WRAPS, Tree, cleaned, without_tags

# Limits of one message: kinds of look that are named, characters of hidden words that
# are read and quoted, characters that are written in addition to three times its size,
# characters of a preheader, lines without words before which something is far away, and
# characters of a line that does not break.
MOST_NAMED = 200
MOST_READ = 20_000
MOST_PASSAGE = 2_000
MOST_WRITTEN = 300_000
MOST_PREHEADER = 400
MOST_EMPTY_LINES = 60
MOST_ON_LINE = 100
# Characters that the desk marks and the simple form does not have, and what is written
# for them. A flag may be written in tag characters. The last ones may stand behind
# letters that are written from right to left.
_LEFT_OUT = (
    ("control characters", "[\x00-\x08\x0b-\x1f\x7f-\x9f]", " "),
    ("very many blanks", "[\u00a0\u2000-\u200a\u202f\u205f\u3000\u2800]{20,}+", " "),
    (
        "characters that reverse or hide text",
        "[\u202a-\u202e\u2066-\u206f\ufff9-\ufffb]|(?<![\U0001f3f4\U000e0000-\U000e0fff])[\U000e0000-\U000e0fff]+",
        "",
    ),
    ("marks of words from right to left", "[\u200e\u200f\u061c]", ""),
)
# Text of which something is seen.
_SEEN = re.compile(
    "[^\\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb]+"
)
_EMPTY_LINES = "\n(?:[ \t]*+\n){10,}+"
# Words that would make a table wide, and what is written before them: there, they break.
_LONG = r"(?<![^\s;])(?:(?!&[nlg])[!-~]){30,}+"
_BREAKS = '<span style="overflow-wrap:anywhere;">'
SCHEMES = frozenset(
    "http https mailto tel sms callto skype facetime facetime-audio whatsapp".split()
)
# The width of pictures in pixels from which on they may fill their box, and the height
# below which they are lines or gaps.
WIDE = 100
LINE = 40
# Attributes with a number, and the most that is written.
_MOST = {
    "border": 4,
    "cellpadding": 12,
    "cellspacing": 6,
    "colspan": 30,
    "rowspan": 30,
    "width": 800,
    "height": 800,
}
# The attributes of the simple form by tag, and patterns for their values. An attribute
# without a pattern may have any value.
ATTRIBUTES = {
    "*": {"style", "dir", "lang"},
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "li": {"value"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan"},
    "table": {"cellpadding", "cellspacing", "border"},
}
VALUES = {
    "style": re.compile(r"\A(?:[a-z-]++:[a-zA-Z0-9#%., \-']++;)++"),
    "dir": re.compile("auto|ltr|rtl"),
    "lang": re.compile("[a-zA-Z]{1,8}(?:-[a-zA-Z0-9]{1,8}){0,6}"),
    **dict.fromkeys((*_MOST, "value"), re.compile("-?[0-9]{1,7}")),
}
_AUTO = ' dir="auto"'
_ADDRESS = r' (?:href|src)="[^"]*"'


def simplify(source: str) -> SimpleForm:
    """Return the simple form of a message's HTML. Raises TooComplex."""
    try:
        writer = _Writer(Tree(re.sub("[\ud800-\udfff]", "\ufffd", source)))
    except RecursionError as error:
        raise TooComplex("its styles are nested too deeply") from error
    written = "".join(writer.out)
    if len(written) > 3 * len(source) + MOST_WRITTEN:
        raise TooComplex("its simple form would be too large")
    clean = cleaned(
        written,
        tags=set(TAGS),
        attributes=ATTRIBUTES,
        values=VALUES,
        url_schemes=SCHEMES | {"cid", "data"},
    )
    if re.sub(_ADDRESS, "", clean) != re.sub(_ADDRESS, "", written):
        raise TooComplex("its structure is ambiguous")
    if clean != written:
        writer.note("an address that cannot be read")
    changes = writer.all_changes()
    is_exact = writer.is_exact and not changes
    return SimpleForm(clean, "".join(writer.marked), changes, writer.loads, is_exact)


def _escaped(text: str) -> str:
    """Return text as nh3 writes it."""
    return html.escape(text, quote=False).replace("\xa0", "&nbsp;")


def _attribute(name: str, value: str) -> str:
    escaped = _escaped(value).replace('"', "&quot;")
    return f' {name}="{escaped}"'


@dataclass(frozen=True, slots=True)
class _Form:
    """What an element becomes at one place: its tag, its start as it is written, and how
    words look in it.
    """

    tag: str
    start: str
    look: Look
    # Empty lines that it adds, whether the original writes it from right to left, and
    # whether it is an item of a list that counts.
    lines: float
    is_rtl: bool
    is_item: bool


@dataclass(slots=True)
class _Open:
    """An open element, where it begins in the output, and the number that the next item
    of a list gets.
    """

    form: _Form
    begin: int
    number: int


class _Writer:
    """Writes the simple form of a tree to `out`, and with marks of changes to `marked`."""

    def __init__(self, tree: Tree) -> None:
        self.out: list[str] = []
        self.marked: list[str] = []
        self.note = tree.note
        self.is_exact = tree.is_plain
        self.loads = tuple(tree.loads)[:MOST_NAMED]
        self._tree = tree
        self._last = ""
        self._stack: list[_Open] = []
        self._form = cache(self._form_of)
        # The code and cause of the last change, if the last words are part of it.
        self._hiding: tuple[str, str] | None = None
        self._has_words = self._has_rtl = False
        self._line = 0
        self._empty_lines = 0.0
        self._has_colspan = any(
            isinstance(piece, Token) and piece.attributes["colspan"]
            for piece in tree.pieces
        )
        for piece in tree.pieces:
            if isinstance(piece, Token):
                self._start(piece)
            elif isinstance(piece, str):
                self._text(piece)
            elif isinstance(piece, int):
                self._write("", f'<ins data-change="{piece}"></ins>')
            else:
                self._end()

    def all_changes(self) -> tuple[Change, ...]:
        """Return what was changed, each kind of look once."""
        changes = []
        for one in self._tree.changes:
            passage = " ".join(_SEEN.findall(one.passage))
            code = one.code
            if code == PREHEADER and len(passage) > MOST_PREHEADER:
                code = HIDDEN
            # What help desks hide in their mail, so that they find the answers to it.
            if re.fullmatch(
                r"(?:Message ID: )?[<\[](?=[^<>\[\]]*[0-9])[\w.+/@=-]{6,300}[>\]]",
                passage,
            ):
                code = LEFT_OUT
            changes.append(Change(code, one.how, passage[:MOST_PASSAGE]))
        changes += (Change(LOOK, how) for how in list(self._tree.odd)[:MOST_NAMED])
        return tuple(changes)

    def _write(self, text: str, marked: str) -> None:
        self.out.append(text)
        self.marked.append(marked)
        self._last = text or self._last

    # Whether so much room without words came that no more is written.
    def _is_far(self) -> bool:
        return self._has_words and self._empty_lines > MOST_EMPTY_LINES / 2

    def _start(self, element: Token) -> None:
        form = self._form(
            element,
            self._stack[-1].form.look if self._stack else Look(),
            self._is_far(),
            self._has_words,
        )
        tag = form.tag
        if tag in BLOCKS or tag == "br":
            self._line = 0
            if self._hiding:
                self._hide(*self._hiding, " ")
        attributes = element.attributes
        if not form.look.gone or not self._stack:
            self._empty_lines += form.lines
            start = form.start
            if tag == "li":
                lists = [one for one in self._stack if one.form.tag in ("ol", "ul")]
                around = [self._stack[0], *lists][-1]
                number = self._number(attributes["value"], around.form, around.number)
                around.number = number + form.is_item
                if around.form.tag == "ol":
                    start = start.replace(">", f' value="{number}">')
            labels = "\x1f".join(
                attributes[one]
                for one in ("alt", "title", "aria-label")
                if attributes[one].strip()
            )
            marked = _attribute("data-labels", labels) if labels else ""
            self._write(start, start.replace(f"<{tag}", f"<{tag}{marked}"))
        if tag not in VOID:
            self._stack.append(
                _Open(form, len(self.out), self._number(attributes["start"], form, 1))
            )

    # Returns a number of a list, unless its letters could spell a word.
    def _number(self, written: str, form: _Form, usual: int) -> int:
        match = re.match(rf"[{BLANKS}]*([+-]?[0-9]{{1,6}})(?![0-9])", written)
        number = int(match[1]) if match else usual
        if number > 26 and re.search("alpha|roman", form.start):
            self.note(f"a list with the number {number}")
            return usual
        return number

    def _end(self) -> None:
        opened = self._stack.pop()
        form = opened.form
        if form.look.gone and self._stack:
            return
        if form.is_rtl:
            # So many pieces are enough to see the direction of the first letter.
            inside = without_tags("".join(self.out[opened.begin : opened.begin + 60]))
            kinds = map(bidirectional, inside)
            first = next((one for one in kinds if one in ("L", "R", "AL")), "L")
            if inside and first == "L":
                self.note("words from right to left")
            elif inside:
                for pieces in (self.out, self.marked):
                    start = pieces[opened.begin - 1]
                    pieces[opened.begin - 1] = start.replace(_AUTO, ' dir="rtl"', 1)
        end = f"</{form.tag}>"
        self._write(end, end)

    def _form_of(
        self, element: Token, above: Look, is_low: bool, has_words: bool
    ) -> _Form:
        attributes = element.attributes
        declared = self._tree.declared(element)
        declarations = declared.together()
        sheets = declared.sheets
        held = held_by(declarations)
        # Only the page is written although it is not drawn itself.
        tag = tag_of(element.name).replace("-", "div")
        has_no_line = held["text-decoration"] == "none" and tag in ("s", "u")
        is_raised = above.raised >= MOST_RAISED and tag in ("s", "sub", "sup")
        target = self._target(attributes["href"]) if tag == "a" else ""
        if has_no_line or is_raised or (tag == "a" and not target):
            tag = "span"
        is_item = held["display"] in ("", "list-item")
        if tag == "li" and not is_item:
            held["list-style-type"] = "none"
        if tag in ("ol", "ul"):
            kind = held["list-style-type"]
            if kind in ("disc", "circle", "square"):
                tag = "ul"
            elif re.match("decimal|lower-|upper-", kind):
                tag = "ol"
        if re.fullmatch("(block|inline)?(left|right)", held["display"] + held["float"]):
            held["display"] = "inline-block"
        if tag != "table" and "inline-block" in (above.flow, held["display"]):
            # Words that stand beside each other do not touch.
            held = Values({"margin-left": "8px", "margin-right": "8px"} | held)
        look = look_inside(tag, held, above)
        if look.removed and not above.gone and has_words:
            # Words that only a style sheet hides are kept, except at the beginning:
            # programs differ in what they apply.
            own = held_by(one for one in declarations if one not in sheets)
            seen = look_inside(tag, own, above)
            if not seen.removed:
                held, look = own, seen._replace(by_sheet=look.removed)
        is_page = element is self._tree.pieces[0]
        if is_page and readable(look.ink, look.back) != look.ink:
            self.note("colours of the page")
        if look.is_box and above.box[1] != above.back and not held["background-color"]:
            self.note("a paragraph on the background of a line")
        if look.room < TOO_WIDE:
            self.note("boxes in each other that take all the width")
        for how in odd_about(element):
            self.note(how)
        for name in ("link", "vlink", "alink"):
            colour = colour_of(ascii_lower(attributes[name]), look.back)
            if attributes[name] and contrast(colour or look.back, look.back) < READABLE:
                self.note(f"{name}={attributes[name]}"[:80])
        room = max(pixels(held[one]) or 0 for one in ("margin-left", "padding-left"))
        # Of what is removed, only a style sheet that does so is odd.
        for one in sheets if look.gone else declarations:
            is_judged = one.name in OF_INSIDE and tag not in VOID
            kind = tag if look.is_box or tag in VOID else "span"
            if not is_judged and not is_usual(one, kind, room):
                self.note(f"{one.name}: {one.value}"[:80])

        written = {"href": target} if target else {}
        if tag == "img":
            source = attributes["src"].strip(BLANKS)
            if re.match(
                "(?ai)https?:|cid:|data:image/(?:png|jpe?g|gif);base64,", source
            ):
                written["src"] = self._plain(source)
            elif source:
                self.note(f"a picture that is not sent ({source[:40]})")
            if "alt" in attributes:
                words = " ".join(attributes["alt"].split()).replace("<", "‹")
                written["alt"] = self._plain(words)
        for name in [one for one in _MOST if one in ATTRIBUTES.get(tag, ())]:
            match = re.fullmatch(
                r"([0-9]{1,6})(?:\.[0-9]*)?(?:px)?", attributes[name] or held[name]
            )
            if name == "rowspan" and self._has_colspan and match:
                # Cells that span both rows and columns could lie over each other.
                self.note("cells that span rows")
            elif match and not (tag == "table" and look.room < 0):
                # Words of cells beside each other do not touch.
                number = min(int(match[1]), _MOST[name]) or 2 * (name == "cellpadding")
                if name == "height" and (
                    held["height"] == "auto"
                    or ("%" in held["width"] and number >= LINE)
                ):
                    # It follows from the width, except for lines and gaps. Both say
                    # how large the picture is before it is loaded.
                    held["height"] = "auto"
                    if "width" not in written:
                        continue
                written[name] = str(number)
                if name == "width" and number > WIDE:
                    # It becomes narrower where the window is.
                    most = f"{min(pixels(held['max-width']) or number, number)}px"
                    held |= {"width": "100%", "max-width": most}
        direction = held["direction"]
        if direction in ("rtl", "auto") or look.direction != above.direction:
            written["dir"] = look.direction.replace("rtl", "auto")
        if VALUES["lang"].fullmatch(attributes["lang"]):
            written["lang"] = attributes["lang"]
        kept = style_of(tag, held, look, above, is_low)
        style = "".join(f"{one}:{value};" for one, value in sorted(kept.items()))
        self.is_exact = self.is_exact and is_written(
            element, declared, tag, written, kept, look
        )
        if is_page:
            style = WRAPS + style
        if style:
            written["style"] = style
        start = f"<{tag}{''.join(map(_attribute, written, written.values()))}>"
        lines = 0.0
        if tag in ("br", "hr"):
            lines = 1
            start = "" if is_low else f"<{tag}>"
        elif tag in BLOCKS:
            sides = "padding-top padding-bottom margin-top".split()
            lines = sum(pixels(held[side]) or 0 for side in sides) / 20
        return _Form(tag, start, look, lines, direction == "rtl", is_item)

    # Returns the address of a link; empty, with a change noted, if it is not kept.
    def _target(self, href: str) -> str:
        # Programs ignore control characters and blanks around it.
        target = self._plain(
            re.sub(r"[\t\n\r]|^[\0- ]+|(?<![\0- ])[\0- ]++$", "", href)
        ).replace("<", "%3C")
        scheme, colon, _ = target.partition(":")
        if colon and ascii_lower(scheme) in SCHEMES:
            return target
        if target and not target.startswith(("#", "x-apple-data-detectors:")):
            self.note(f"a link to {target[:200]}")
        return ""

    def _text(self, text: str) -> None:
        look = self._stack[-1].form.look
        is_seen = _SEEN.search(text) is not None
        if how := look.removed:
            self._hide(HIDDEN if self._has_words else PREHEADER, how, text)
            return
        if how := look.faint or look.by_sheet:
            self._hide(SHOWN, how, text)
        elif is_seen:
            self._hiding = None
        if is_seen:
            if self._has_words and self._empty_lines > MOST_EMPTY_LINES:
                self.note("a long way without words")
            self._has_words |= not how
            self._empty_lines = 0
            lines = text.split("\n")
            self._line = len(lines[-1]) + (self._line if len(lines) == 1 else 0)
            longest = max(self._line, *map(len, lines))
            if look.white_space in ("pre", "nowrap") and longest > MOST_ON_LINE:
                self.note("a line that does not break")
            if look.line is not None and look.line < 0.9 * look.size:
                self.note("lines that lie over each other")
            if look.cut:
                self.note(look.cut)
            # Word writes bullets as these letters in a font of symbols.
            is_bullet = text.strip() in "·§Øü¨ðàè\uf0b7\uf0a7\uf0d8\uf0fc"
            if draws_other_letters(look.fonts) and not is_bullet:
                self.note("a font that draws other letters")
            if not 8 <= look.size <= 60:
                self.note("letters of an unusual size")
        elif text.strip(BLANKS):
            # A blank that keeps a line open.
            self._empty_lines += 2
            if self._is_far():
                return
        if look.keeps_blanks and re.search(_EMPTY_LINES, text):
            self.note("very many empty lines")
            text = re.sub(_EMPTY_LINES, "\n" * 10, text)
        if self._last.startswith("<pre"):
            # Parsers leave out the first end of a line.
            text = text.lstrip("\n")
        # Lines of their own also in programs that ignore the style.
        line_end = "<br>" if look.keeps_blanks else "\n"
        long = "(?!)" if self._last == _BREAKS else _LONG
        written, marked = (
            re.sub(long, rf"{_BREAKS}\g<0></span>", _escaped(one)).replace(
                "\n", line_end
            )
            for one in (self._plain(text), text)
        )
        if how and is_seen:
            marked = f'<ins data-change="{len(self._tree.changes) - 1}">{marked}</ins>'
        self._write(written, marked)

    # Notes hidden words. The first place of those that are removed gets a mark.
    def _hide(self, code: str, how: str, text: str) -> None:
        changes = self._tree.changes
        if self._hiding != (code, how):
            if not _SEEN.search(text):
                return
            self._hiding = (code, how)
            changes.append(Change(code, how))
            if code != SHOWN:
                self._write("", f'<ins data-change="{len(changes) - 1}"></ins>')
        passage = (changes[-1].passage + text)[:MOST_READ]
        changes[-1] = Change(code, how, passage)

    # Returns text without the characters that are left out.
    def _plain(self, text: str) -> str:
        if not re.search("[^ -~]", text):
            return text
        # Letters that are written from right to left.
        letters = (
            "[\u0590-\u061b\u061d-\u08ff\ufb1d-\ufdff\ufe70-\ufefc"
            "\U00010800-\U00010fff\U0001e800-\U0001efff]"
        )
        self._has_rtl |= re.search(letters, text) is not None
        for how, pattern, instead in _LEFT_OUT[: 3 if self._has_rtl else 4]:
            text, number = re.subn(pattern, instead, text)
            if number:
                self.note(how)
        return text
