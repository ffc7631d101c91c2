"""Turns any HTML into its simple form: few elements, and styles that cannot hide,
cover, cut off, move or add words.

Style sheets, positions, floats and sizes that cut off are left out, and words that a
style hides become visible. `SimpleForm.changes` lists what was left out or changed, and
what it could have done to which words. A simple form is its own simple form.
"""

import html
import re
from collections.abc import Iterable
from urllib.parse import urljoin

from simple_form.cascade import Element
from simple_form.colours import BLACK, UNREADABLE, Colour, contrast, over
from simple_form.elements import Tree, cleaned
from simple_form.harmless import ROOT_SIZE, Harm, attribute_length, length
from simple_form.html_reading import Values, pieces_of
from simple_form.looks import (
    INDENTING,
    MOST_STRUCK,
    Look,
    around_of,
    look_of,
    look_of_page,
)
from simple_form.places import (
    BLOCKS,
    BREAKS,
    MOST_RAISED,
    PUSHED,
    RTL_MARKS,
    Numbering,
    OpenElement,
    Place,
    begins_rtl,
    has_rtl,
)
from simple_form.result import Change, SimpleForm, TooComplex
from simple_form.styles import INLINE_BOXES, is_tall, style_of
from simple_form.tables import Table

TAGS = frozenset(
    "a b blockquote br code dd div dl dt em h1 h2 h3 h4 h5 h6 hr i img li ol p pre s span strong sub sup table tbody "
    "td th tr u ul".split()
)
# The tag that is written in place of others.
_WRITTEN_AS = {
    name: tag
    for tag, names in {
        "div": "article aside section header footer main nav address figure figcaption center form fieldset details "
        "summary dialog marquee",
        "s": "del strike",
        "u": "ins",
        "tbody": "thead tfoot",
        "code": "tt samp kbd",
        "i": "cite dfn var",
        "ul": "dir menu",
        "pre": "listing",
    }.items()
    for name in names.split()
}
# Tables and their parts.
_PARTS = frozenset("td th tr tbody caption table".split())
# The start of a list, or the number of an item.
_NUMBER = re.compile(r"\s*([+-]?[0-9]{1,9})\b")
# List styles whose items have a number or letters.
_NUMBERED = frozenset("decimal lower-alpha upper-alpha lower-roman upper-roman".split())
# Indenting elements in each other.
MOST_INDENTED = 5
# Characters of a line that does not break, and of a line of code (<pre>).
MOST_ON_ONE_LINE = 40
MOST_IN_PRE = 120
# Changes of one message, causes that one change names, and characters of a preheader.
MOST_NAMED = 200
MOST_HOWS = 4
MOST_PREHEADER = 200
# The last number of a list that is one letter.
MOST_LETTERED = 26
# In pixels: pictures in a row, and elements in a table row with several cells.
MOST_PICTURE = 100
MOST_WIDE = 300
_SCHEMES = ("http:", "https:", "mailto:", "tel:", "sms:")
# Characters that reverse the direction of writing, spell hidden text, or annotate it.
# They are left out; a flag may be written in tag characters.
_REVERSING = re.compile(
    "[\u202a-\u202e\u2066-\u2069\u206a-\u206f\ufff9-\ufffb]+|(?<!\U0001f3f4)[\U000e0000-\U000e0fff]+"
)
# A text of spaces and invisible characters alone.
_UNSEEN = re.compile(
    "[\\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*"
)
_SURROGATES = re.compile("[\ud800-\udfff]")
_BLANKS = re.compile("[ \t\n\f\r]+")
# Spaces at which no line breaks.
_UNBREAKABLE = "\u00a0\u2000-\u200a\u202f\u205f\u3000\u2800\u2060\ufeff"
# Characters of a word that is long.
_LONG_WORD = 20
_UNBREAKABLE_SPACE = re.compile(f"[{_UNBREAKABLE}]")
_MANY_UNBREAKABLE = re.compile(f"(?<![{_UNBREAKABLE}])[{_UNBREAKABLE}]{{20,}}+")
# The attributes of the simple form by tag, and patterns for their values. An attribute
# without a pattern may have any value.
ATTRIBUTES = {
    "*": {"style", "dir"}, "a": {"href"}, "img": {"src", "alt", "width", "height"}, "li": {"value"},
    "td": {"colspan", "rowspan"}, "th": {"colspan", "rowspan"}, "table": {"cellpadding", "border"},
}  # fmt: skip
VALUES = {
    "style": re.compile(r"(?<![a-z-])(?:[a-z-]++:[a-zA-Z0-9#%., \-']++;)++"),
    "dir": re.compile("rtl|ltr|auto"),
    "value": re.compile("-?[0-9]{1,9}"),
    **dict.fromkeys(
        ("colspan", "rowspan", "width", "height", "cellpadding", "border"),
        re.compile("[0-9]{1,4}"),
    ),
}


def simplify(source: str) -> SimpleForm:
    """Return the simple form of a message's HTML. Raises TooComplex."""
    try:
        writer = _Writer(Tree(_SURROGATES.sub("\ufffd", source)))
        writer.write()
    except RecursionError as error:
        raise TooComplex("its styles are nested too deeply") from error
    written = "".join(writer.out)
    changes = writer.changes
    if found := _REVERSING.findall(written):
        written = _REVERSING.sub("", written)
        number = sum(map(len, found))
        plural = "s" if number > 1 else ""
        changes.append(Change(f"{number} invisible character{plural}"))
    clean = cleaned(
        written,
        tags=set(TAGS),
        attributes=ATTRIBUTES,
        values=VALUES,
        url_schemes={"http", "https", "mailto", "tel", "sms", "cid", "data"},
    )
    return SimpleForm(clean, "".join(writer.out), tuple(changes))


# Writes the simple form of a tree: `write` fills `out` with HTML and `changes` with
# what was changed.
class _Writer:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.changes = list(tree.changes)
        # What only changes the look fills no place of what hides or moves words.
        self.most = len(self.changes) + MOST_NAMED
        self.out: list[str] = []
        # Open elements whose words are needed when they end.
        self.collecting: list[OpenElement] = []
        self.place = Place()
        self.stack = self.place.stack
        self.has_words = False
        # An element that floats to the right, until more words come on its line.
        self.at_right: OpenElement | None = None

    # Writes the whole form: the page, then each piece of the tree's HTML.
    def write(self) -> None:
        look = look_of_page(self.tree)
        harms: list[Harm] = []
        beside: tuple[Colour, ...] = ()
        for part in self.tree.page:
            look = look_of(part, look, self.tree, is_block=True)
            harms += part.harms
            if part.name == "html" and part.all_of("background-color"):
                beside = look.light.backs
        if any(
            contrast(over(one, back), back) < UNREADABLE
            for one in look.light.colours
            for back in beside
        ):
            harms.append(Harm("a background beside the page", "hide it"))
        look.page_back = look.light.backs[0]
        look.page_colours = (BLACK, *look.light.colours)
        page = OpenElement("body", "", look, harms, self.tree.names, is_block=True)
        style = self._style(page, self.tree.page[1], Look(), is_box=True)
        page.asks_rtl = look.is_right_to_left
        has_style = style or page.asks_rtl
        if has_style:
            page.output_index = 1
            self.out += [f'<div style="{style}"' if style else "<div", "", ">"]
        self._push(page)
        for piece in pieces_of(self.tree.html):
            if piece.kind == "text":
                self._text(piece.data)
            elif piece.kind == "end":
                self._end()
            else:
                self._start(piece.name, piece.attributes)
        self.place.end_line()
        self._close(self.stack.pop())
        if has_style:
            self.out.append("</div>")

    # Writes one start tag of the tree's HTML: an element, a picture, a line, or a
    # change.
    def _start(self, written: str, marks: Values) -> None:
        element = Element(written)
        if "data-n" in marks:
            names = self.stack[-1].names
            element = self.tree.styled(int(marks["data-n"]), names)
        if element.change is not None:
            self.out.append(f'<ins data-change="{element.change}"></ins>')
        elif written == "img":
            self._picture(element)
        elif written in ("br", "hr"):
            self._note_pulled(element)
            if (cell := self.place.enclosing_cell()) is not None:
                width = element.pixels("width")
                cell.least_width = max(cell.least_width, width)
            for harm in element.harms:
                if harm.reaches:
                    self._add(f"{harm.how} (of a line)", harm.does)
            self.out.append(f"<{written}>")
            self.place.has_words = False
        else:
            self._open(element, written, marks)

    # Opens an element: writes its tag with style, and collects what it could do.
    def _open(self, element: Element, written: str, marks: Values) -> None:
        above = self.stack[-1].look
        name = element.name
        held = element.held
        tag = self._tag(name, written, above, held)
        target = self._target(element.attributes["href"]) if tag == "a" else ""
        tag = "span" if tag == "a" and not target else tag
        display = held["display"]
        is_block = tag in BLOCKS or display in ("block", "table", "flex", "grid")
        is_box = is_block or display in INLINE_BOXES
        look = look_of(element, above, self.tree, is_block=is_box)
        columns = self.place.begin_table_part(name, marks)
        harms = [*self.place.harms(element, look, above, is_block=is_block)]
        if columns and str(columns) != marks.get("colspan", "1"):
            harms.append(Harm("cells that lie over each other", "cover other words"))
            marks = Values({**marks, "colspan": str(columns)})
        beside = {*INLINE_BOXES, "table-cell"}
        spacings = [length(part) or 0.0 for part in held["border-spacing"].split()]
        attributes = element.attributes
        opened = OpenElement(
            name,
            tag,
            look,
            harms,
            self.stack[-1].names | element.names,
            is_block=is_block,
            is_first=not self.has_words,
            ends_line=is_block
            and (written in _PARTS or beside.isdisjoint(element.all_of("display"))),
            around=around_of(element, look.size) + element.pixels("text-indent"),
            table=Table(
                padding=attribute_length(attributes["cellpadding"]),
                spacing=max(spacings, default=0.0)
                + attribute_length(attributes["cellspacing"])
                + attribute_length(attributes["border"]),
            ),
        )
        if opened.ends_line:
            self._end_line()
        style = self._style(opened, element, above, is_box=is_box)
        self.out.append(f"<tr><{tag}" if name == "caption" else f"<{tag}")
        self.out.append(self._attributes(element, name, target, marks))
        if style:
            self.out.append(f' style="{style}"')
        if tag == "li":
            self._item(element)
        if tag == "ol" or (tag == "ul" and held["list-style-type"] in _NUMBERED):
            self._list(opened, element)
        if held["direction"] == "ltr":
            self.out.append(' dir="ltr"')
        elif name != "table":
            is_auto = attributes["dir"].strip().lower() == "auto"
            opened.asks_auto_direction = is_auto or name == "bdi"
        opened.asks_rtl = held["direction"] == "rtl" or (
            name == "table" and look.is_right_to_left
        )
        # Attributes that depend on its words are written here when it ends.
        opened.output_index = len(self.out)
        self.out += ["", ">"]
        self._push(opened)
        self.place.add_float(opened, element)
        if name == "q":
            self._text("“")

    def _push(self, opened: OpenElement) -> None:
        self.stack.append(opened)
        is_asked = (
            opened.look.rounded is not None
            or opened.look.is_one_line
            or opened.tag in ("pre", "td", "th")
        )
        if opened.harms or is_asked or opened.asks_rtl or opened.asks_auto_direction:
            self.collecting.append(opened)

    def _end(self) -> None:
        if len(self.stack) < 2:
            raise TooComplex("its structure is ambiguous")
        if self.stack[-1].name == "q":
            self._text("”")
        if self.stack[-1].ends_line:
            self._end_line()
        opened = self.stack.pop()
        self._close(opened)
        self.out.append(
            f"</{opened.tag}></tr>" if opened.name == "caption" else f"</{opened.tag}>"
        )

    def _close(self, opened: OpenElement) -> None:
        """Note what an element could do, and write the attributes that depend on its
        words, now that it ends.
        """
        if self.collecting and self.collecting[-1] is opened:
            self.collecting.pop()
        text = " ".join("".join(opened.text).split())
        has_words = not _is_unseen(text)
        has_letters = any(map(str.isalnum, text))
        harms = [
            harm
            for harm in opened.harms
            if harm.reaches
            or (has_words and (has_letters or harm.does != "draw other letters"))
        ]
        if opened.problem:
            harms.append(Harm(opened.problem, "hide it"))
        if opened.is_lost and len(text) > (opened.look.rounded or len(text)):
            harms.append(Harm("round corners of its background", "hide it"))
        if opened.name in ("td", "th"):
            # A cell without words counts for the width of its row too.
            of_cell = [*self.place.harms_of_cell(opened)]
            harms += of_cell if has_words else []
        if _is_far(opened):
            harms.append(Harm("white-space: nowrap", "cut it off"))
        if opened.asks_auto_direction and opened.has_rtl:
            self.out[opened.output_index] += ' dir="auto"'
        if opened.asks_rtl:
            has_parts = opened.has_parts or opened.table.has_multi_cell_row
            if opened.first_letter_is_rtl or (opened.has_rtl and not opened.is_mixed):
                self.out[opened.output_index] += ' dir="rtl"'
                if has_parts and opened.name != "table":
                    harms.append(Harm("direction: rtl", "move it"))
            elif has_words and (
                has_parts
                or (
                    opened.name != "table"
                    and (opened.has_rtl or not text[:1].isalpha())
                )
            ):
                harms.append(Harm("direction: rtl", "move it"))
                self.out[opened.output_index] += (
                    ' dir="ltr"' if opened.name == "table" else ""
                )
        above = self.stack[-1].look if self.stack else opened.look
        floats_right = [harm.how for harm in harms] == ["float: right"]
        if floats_right and not opened.is_block and opened.look.size <= above.size:
            # At the end of its line it makes no difference: see `at_right` in `_text`.
            self.at_right = opened
        elif harms:
            self._note(opened, harms, text if has_words else "")
        if opened.numbering is not None:
            for output_index, number in opened.numbering.unusual():
                self.out[output_index] = f' value="{number}"'

    # Notes something that an element could do without words in it.
    def _add(self, how: str, does: str, passage: str = "") -> None:
        change = Change(how, does, passage)
        if len(self.changes) < self.most and change not in self.changes[-3:]:
            self.changes.append(change)

    def _note(self, opened: OpenElement, harms: Iterable[Harm], text: str) -> None:
        """Note what an element could do to its words, as one change for each harm."""
        hows_by_harm: dict[str, list[str]] = {}
        for harm in {harm.how: harm for harm in harms}.values():
            hows_by_harm.setdefault(harm.does, []).append(harm.how)
        is_preheader = (
            opened.is_first
            and opened.look.is_gone
            and len(text) <= MOST_PREHEADER
            and hows_by_harm.keys() <= {"hide it", "cut it off"}
        )
        numbers = []
        for does, hows in hows_by_harm.items():
            if len(self.changes) < self.most:
                numbers.append(str(len(self.changes)))
                how = "; ".join(hows[:MOST_HOWS])
                if len(hows) > MOST_HOWS:
                    how += " and more"
                self.changes.append(Change(how, does, text[:300], is_preheader))
        if opened.tag and numbers:
            self.out[opened.output_index] += f' data-change="{" ".join(numbers)}"'

    # Writes text, and notes what could happen to it at this place.
    def _text(self, text: str) -> None:
        here = self.stack[-1]
        look = here.look
        if _reverses(text):
            self._harmed("characters that turn words round", "move it")
        if not look.is_gone and not text.isascii():
            # Such spaces belong to a word, so count those between two line breaks.
            blanks = max(
                len(_UNBREAKABLE_SPACE.findall(one)) for one in BREAKS.split(text)
            )
            if blanks > MOST_ON_ONE_LINE or _MANY_UNBREAKABLE.search(text):
                self._harmed("very many blanks", "move it")
                is_many = blanks > MOST_ON_ONE_LINE
                text = (_UNBREAKABLE_SPACE if is_many else _MANY_UNBREAKABLE).sub(
                    " ", text
                )
        if look.is_turned and any(
            len(one) > _LONG_WORD and _UNBREAKABLE_SPACE.search(one)
            for one in BREAKS.split(text)
        ):
            # A line that does not break leaves the window on the side where nobody can
            # scroll.
            how = "blanks at which a line from right to left does not break"
            self._harmed(how, "cut it off")
            text = _UNBREAKABLE_SPACE.sub(" ", text)
        is_kept = here.tag == "pre" or look.keeps_blanks
        if look.is_right_to_left and ("\u2029" in text or (is_kept and "\t" in text)):
            how = "characters that part a line from right to left"
            self._harmed(how, "move it")
        is_unseen = _is_unseen(text)
        if not is_unseen:
            self.has_words = True
            self.place.add_words(text)
            if here.problem is None and not look.is_gone:
                here.problem = look.unreadable()
                if here.problem:
                    self._collect()
            if look.rounded is not None and look.is_lost_outside():
                for one in self.collecting:
                    one.is_lost = True
            if self.at_right is not None:
                # Words follow it on its line, so the float does move them.
                self._note(
                    self.at_right,
                    [Harm("float: right", "move it")],
                    "".join(self.at_right.text).strip(),
                )
                self.at_right = None
            if not look.is_gone and (harm := self.place.harm_of_width(text, look)):
                self._harmed(harm.how, harm.does)
                self.out.append("<br>" if harm.how == PUSHED else "")
            if len(self.collecting) > 100:
                raise TooComplex("too many of its parts lie in each other")
        for one in self.collecting:
            if one.asks_rtl or one.asks_auto_direction:
                if one.first_letter_is_rtl is None:
                    one.first_letter_is_rtl = begins_rtl(text)
                one.has_rtl = one.has_rtl or has_rtl(text)
            if one.text_length < 400:
                one.text.append(text)
                one.text_length += len(text)
        escaped = html.escape(text, quote=False)
        if (
            (here.is_block or not look.is_coloured)
            and look.is_lost_outside()
            and not is_unseen
        ):
            colour, back = (one.written() for one in look.written)
            escaped = f'<span style="color:{colour};background-color:{back};">{escaped}</span>'
        self.out.append(escaped)

    def _end_line(self) -> None:
        self.place.end_line()
        self.at_right = None
        for opened in self.collecting:
            opened.text.append(" ")

    def _harmed(self, how: str, does: str) -> None:
        self.stack[-1].harms.append(Harm(how, does))
        self._collect()

    def _collect(self) -> None:
        """Collect the words of the innermost open element from now on."""
        if self.stack[-1] not in self.collecting:
            self.collecting.append(self.stack[-1])

    def _note_pulled(self, element: Element) -> None:
        if self.place.add_pulled(element):
            self._add("margins below zero", "move it")

    # How each element is written.

    # Returns the tag that is written for an element.
    def _tag(self, name: str, written: str, above: Look, held: Values) -> str:
        tag = _WRITTEN_AS.get(name, name)
        if name == "caption":
            # A cell in a row of its own: other tags would be moved out of the table.
            return "td"
        is_narrow = above.room is not None and above.room < 140
        if tag in INDENTING and (above.indented >= MOST_INDENTED or is_narrow):
            return "div"
        if (tag in ("sub", "sup") and above.raised >= MOST_RAISED) or (
            tag == "s" and above.struck >= MOST_STRUCK
        ):
            return "span"
        if held["display"] == "inline" and tag in BLOCKS - _PARTS:
            return "span"
        if tag in ("s", "u") and held["text-decoration"].startswith("none"):
            return "span"
        if tag in TAGS and _WRITTEN_AS.get(written, written) == tag:
            return tag
        is_div = written in ("div", "object") or _WRITTEN_AS.get(written) == "div"
        return "div" if is_div else "span"

    def _attributes(
        self, element: Element, name: str, target: str, marks: Values
    ) -> str:
        written_attributes = "".join(
            f' {attribute}="{marks[attribute]}"'
            for attribute in ("colspan", "rowspan")
            if attribute in marks
        )
        if element.labels:
            written_attributes += (
                f' data-labels="{html.escape(chr(31).join(element.labels))}"'
            )
        if target:
            written_attributes += f' href="{html.escape(target)}"'
        for attribute, most in (("cellpadding", 12), ("border", 8)):
            value = element.attributes[attribute]
            if name == "table" and re.fullmatch("[0-9]{1,4}", value):
                written_attributes += f' {attribute}="{min(int(value), most)}"'
        return written_attributes

    # Returns the address of a link; empty, with a change noted, if it is not kept.
    def _target(self, href: str) -> str:
        target = re.sub("[\t\n\r]", "", href).strip("".join(map(chr, range(0x21))))
        if self.tree.base and not re.match(
            r"[a-z][a-z0-9+.-]*:", target, re.IGNORECASE
        ):
            try:
                target = urljoin(self.tree.base, target)
            except ValueError:
                target = ""
        if target.lower().startswith(_SCHEMES):
            return target
        if target and not target.lower().startswith(("#", "x-apple-data-detectors:")):
            self.changes.append(Change(f"a link to {target[:200]}", "change it"))
        return ""

    # Writes a picture, and notes what it could do.
    def _picture(self, element: Element) -> None:
        attributes = element.attributes
        self._note_pulled(element)
        for harm in element.harms:
            if harm.reaches or "width" in harm.how or "margin" in harm.how:
                self.changes.append(Change(f"{harm.how} (of a picture)", harm.does))
        held = element.held
        width = element.pixels("width")
        above = self.stack[-1].look
        if (cell := self.place.enclosing_cell()) is not None:
            cell.longest_word = max(cell.longest_word, width)
        if above.is_flex and not 0 < width < MOST_PICTURE:
            self._add("a picture in a row", "move it")
        if above.is_one_line:
            self._add("pictures on a line that does not break", "cut it off")
        is_in_table = self.place.enclosing_table().name == "table"
        if above.clip is not None and is_in_table and width > above.clip:
            self._add("overflow around a wide picture", "cut it off")
        source = attributes["src"].strip()
        source = f"https:{source}" if source.startswith("//") else source
        # A picture that is hidden in the original is written one pixel large.
        is_hidden = (
            above.is_gone
            or "hidden" in attributes
            or held["display"] == "none"
            or held["visibility"] == "hidden"
        )
        if not source.lower().startswith(("http:", "https:", "cid:", "data:image/")):
            source = ""
        alt = attributes["alt"]
        if not is_hidden and any(map(str.isalnum, alt)) and not above.unreadable():
            look = look_of(element, above, self.tree, is_block=False)
            if problem := look.unreadable():
                how = f"{problem} (of a picture's text)"
                self._add(how, "hide it", alt[:300])
        written = f' src="{html.escape(source)}"' if source else ""
        if "alt" in attributes:
            written += f' alt="{html.escape(" ".join(alt.split()))}"'
        for name, most in (("width", 800), ("height", 2000)):
            value = "1px" if is_hidden else held[name]
            pixels = length(value) if not value.endswith("%") else None
            if pixels is not None and pixels >= 0:
                written += f' {name}="{min(round(pixels), most)}"'
        if element.labels:
            written += f' data-labels="{html.escape(chr(31).join(element.labels))}"'
        self.out.append(f"<img{written}>")
        self.place.has_words = self.place.has_words or bool(alt.strip())

    # Numbered lists keep the numbers that the original prints.

    # Sets how the items of a list are numbered.
    def _list(self, opened: OpenElement, element: Element) -> None:
        has_letters = _is_lettered(element)
        start = _NUMBER.match(element.attributes["start"])
        step = -1 if "reversed" in element.attributes else 1
        if start and has_letters and int(start[1]) > MOST_LETTERED:
            how = f"a list that begins at {start[1]}"
            opened.harms.append(Harm(how, "add words", reaches=True))
            start = None
        # Without a first number, a reversed list counts down to 1.
        first = int(start[1]) if start else (0 if step < 0 else 1)
        opened.numbering = Numbering(first, step, has_letters)

    # Reserves a place in the output for the number of a list item.
    def _item(self, element: Element) -> None:
        around = next(
            (one for one in reversed(self.stack) if one.tag in ("ol", "ul")), None
        )
        numbering = around.numbering if around else None
        value = _NUMBER.match(element.attributes["value"])
        is_lettered = _is_lettered(element) or (
            numbering is not None and numbering.has_letters
        )
        if value and is_lettered and int(value[1]) > MOST_LETTERED:
            self._add(f"an item with the number {value[1]}", "add words")
            value = None
        if numbering is not None:
            numbering.items.append(
                (len(self.out), int(value[1]) if value else None, _is_item(element))
            )
            self.out.append("")

    def _style(
        self, opened: OpenElement, element: Element, above: Look, *, is_box: bool
    ) -> str:
        """Return the style of an element, and add harms that only its style tells."""
        held = element.held
        if opened.tag == "li" and not _is_item(element):
            held = Values({**held, "list-style-type": "none"})
        if (
            self.place.enclosing_cell() is not None
            and self.place.enclosing_table().table.cells > 1
        ):
            # Wide elements in several cells would push words out of sight.
            held = Values(held)
            for name in ("width", "max-width"):
                if (length(held[name]) or 0) > MOST_WIDE:
                    del held[name]
        style = style_of(opened.tag, held, opened.look, above, is_box=is_box)
        if not is_box and is_tall(held, opened.look.size):
            how = "padding or border of words on a line"
            opened.harms.append(Harm(how, "cover other words", reaches=True))
        return style


def _is_unseen(text: str) -> bool:
    """Whether all characters of a text are spaces or invisible."""
    return _UNSEEN.fullmatch(text) is not None


def _is_lettered(element: Element) -> bool:
    """Whether the numbers of a list are letters, which can spell words."""
    return element.held["list-style-type"].endswith(("-alpha", "-roman"))


def _is_item(element: Element) -> bool:
    """Whether a list item has a number or bullet."""
    return element.held.get("display", "list-item") == "list-item"


def _reverses(text: str) -> bool:
    """Whether characters of a text reverse its direction, apart from those that words
    written from right to left need.
    """
    if text.isascii():
        return False
    turning = "\u202d\u202e"
    if not has_rtl(text):
        turning += f"\u202b\u2067\u2068{RTL_MARKS}"
    return any(character in turning for character in text)


def _is_far(opened: OpenElement) -> bool:
    """Whether a line of an element that does not break ends far out of sight."""
    is_pre = opened.tag == "pre" and not opened.look.is_wrapped
    if not (is_pre or opened.look.is_one_line):
        return False
    text = "".join(opened.text)
    keeps_blanks = is_pre or opened.look.keeps_blanks
    text = text.replace("\t", " " * 8) if keeps_blanks else _BLANKS.sub(" ", text)
    longest = max(map(len, text.split("\n")))
    widest = longest * (opened.look.size + 2 * opened.look.spacing) / ROOT_SIZE
    # Lines of code may be long: they can be read beyond their box.
    is_lost = contrast(opened.look.written[0], opened.look.page_back) < UNREADABLE
    is_short = opened.look.is_one_line or is_lost
    return widest > (MOST_ON_ONE_LINE if is_short else MOST_IN_PRE)


_ENDS_LINE = BLOCKS - {"td", "th"} | {"br", "hr"}


def text_of(simple: str) -> str:
    """Return the text of HTML that `simplify` returned, without tags."""
    parts: list[str] = []
    for piece in pieces_of(simple):
        if piece.kind == "text":
            parts.append(_BLANKS.sub(" ", piece.data))
        elif piece.name in _ENDS_LINE:
            parts.append(
                "\n- " if piece.name == "li" and piece.kind == "start" else "\n"
            )
        elif piece.name in ("td", "th"):
            parts.append(" ")
    lines = (" ".join(line.split()) for line in "".join(parts).splitlines())
    return "\n\n".join(line for line in lines if line and line != "-")
