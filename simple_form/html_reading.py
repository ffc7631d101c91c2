"""Reads HTML by the rules of its standard: `tokens` cuts it into tags and texts, and
`Nesting` follows which elements are open.

The tokens come in one pass that never goes back, so the time is linear for any input.
Text that the standard drops (in a tag that never ends) becomes a "lost" token, so that
it can be noted. A standard parser takes quadratic time for deep nesting, for formatting
that is carried from block to block or closed across blocks, and for text that is moved
out of tables. `Nesting` counts each of these and sets limits.
"""

import html
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from html.entities import html5
from typing import NamedTuple

from simple_form.result import TooComplex

MAX_ATTRIBUTES = 100
# A depth that no number of end tags reduces to 0.
_TO_THE_END = 10**9

_SPACE = "\t\n\f\r "
_BETWEEN = re.compile(f"[{_SPACE}/]*")
_TAG_NAME = re.compile(f"[A-Za-z][^{_SPACE}/>]*")
_ATTRIBUTE = re.compile(
    rf"(?P<name>[^{_SPACE}/>][^{_SPACE}/>=]*+)"
    rf"(?:[{_SPACE}]*+=[{_SPACE}]*+"
    rf"(?:\"(?P<double>[^\"]*+)\"|'(?P<single>[^']*+)'|(?P<unended>[\"'])|(?P<bare>[^{_SPACE}>]*+)))?+"
)
_COMMENT_END = re.compile("--!?>")
_REFERENCE = re.compile(
    r"&(?:#[xX]([0-9a-fA-F]+);?|#([0-9]+);?|([A-Za-z][A-Za-z0-9]{0,31};?))"
)

FOREIGN = frozenset({"svg", "math"})
# Elements of a drawing (svg) or formula (math) in which HTML may stand.
HTML_INSIDE = frozenset(
    "foreignobject desc title annotation-xml mi mo mn ms mtext".split()
)
# Elements whose inside is text up to their end tag: tags in it are not read.
RAW = frozenset(
    {"script", "style", "xmp", "iframe", "noembed", "noframes", "title", "textarea"}
)
# Of these, character references ("&amp;") are still resolved.
_DECODED = frozenset({"title", "textarea"})
_RAW_END = {
    name: re.compile(f"</{name}(?=[{_SPACE}/>])", re.IGNORECASE) for name in RAW
}


_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def ascii_lower(text: str) -> str:
    """Return `text` with the letters A to Z, and no others, in lower case, as names of
    HTML and CSS are compared.
    """
    return text.translate(_LOWER)


class Values(dict[str, str]):
    """A dict that has an empty text for every name that it lacks."""

    def __missing__(self, name: str) -> str:
        return ""


NO_VALUES = Values()


class Token(NamedTuple):
    """A piece of HTML. `kind` is start, end, text, raw (the inside of a `RAW` element),
    comment, or lost (text that the standard drops; `name` says why).

    Document types and other tags that begin with `<!` or `<?` are comments with the
    name "declaration"; "abrupt" ones end in a way that some programs do not know.
    """

    kind: str
    name: str
    data: str
    attributes: Values = NO_VALUES

    def decoded(self) -> Values:
        """Return the attributes with character references resolved as in browsers:
        `&copy=1` stays as it is.
        """
        values = self.attributes.items()
        return Values({name: decode(value, attribute=True) for name, value in values})


def decode(text: str, *, attribute: bool = False) -> str:
    """Return `text` with its character references resolved."""
    if "&" not in text:
        return text

    def resolve(match: re.Match[str]) -> str:
        hexadecimal, decimal, name = match.groups()
        if name is None:
            digits = (hexadecimal or decimal).lstrip("0") or "0"
            if len(digits) > 7:
                return "\ufffd"
            # Python leaves out control characters, which browsers keep.
            character = html.unescape(f"&#{'x' if hexadecimal else ''}{digits};")
            return character or chr(int(digits, 16 if hexadecimal else 10))
        if not attribute:
            return html.unescape(match.group())
        if not name.endswith(";") and (
            name not in html5 or text[match.end() : match.end() + 1] == "="
        ):
            return match.group()
        return html5.get(name, match.group())

    return _REFERENCE.sub(resolve, text)


def tokens(source: str) -> Iterator[Token]:
    """Yield the tokens of `source`. Inside svg and math no element is read as raw text.

    In svg and math, the standard reads style, title and script as ordinary markup. If
    HTML stands inside of these again, only the whole tree tells where that ends: so all
    that follows is read as markup, which shows too much rather than too little.
    """
    text = source.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\ufffd")
    at = 0
    end = len(text)
    foreign = False
    inside = 0
    while at < end:
        opening = text.find("<", at)
        if opening == -1:
            opening = end
        if opening > at:
            yield Token("text", "", decode(text[at:opening]))
        if opening == end:
            return
        token, at = _markup(text, opening, foreign)
        if token is None:
            continue
        yield token
        if token.kind == "end" and token.name in FOREIGN and inside > 0:
            inside -= 1
            foreign = inside > 0
        if token.kind != "start":
            continue
        if token.name in FOREIGN:
            foreign = True
            inside = inside + 1
        elif foreign and token.name in HTML_INSIDE:
            inside = _TO_THE_END
        if token.name == "plaintext" and not foreign:
            yield Token("text", "", text[at:])
            return
        if token.name in RAW and not foreign:
            name = token.name
            closing = _RAW_END[name].search(text, at)
            if closing is None:
                yield Token("lost", f"<{name}> that never ends", text[at:])
                return
            inner = text[at : closing.start()]
            at = closing.start()
            yield Token("raw", name, decode(inner) if name in _DECODED else inner)


def _markup(text: str, at: int, foreign: bool) -> tuple[Token | None, int]:
    """Read what starts with the `<` at `at`. Return its token, if any, and the position
    after it.
    """
    following = text[at + 1 : at + 2]
    if following.isascii() and following.isalpha():
        return _tag(text, at, at + 1, "start")
    if following == "/":
        third = text[at + 2 : at + 3]
        if third.isascii() and third.isalpha():
            return _tag(text, at, at + 2, "end")
        return (Token("text", "", "</"), at + 2) if not third else _bogus(text, at + 2)
    if text.startswith("<!--", at):
        for short in ("<!-->", "<!--->"):
            if text.startswith(short, at):
                return Token("comment", "abrupt", ""), at + len(short)
        closing = _COMMENT_END.search(text, at + 4)
        if closing is None:
            return Token("lost", "a comment that never ends", text[at + 4 :]), len(text)
        name = "abrupt" if "!" in closing.group() else ""
        return Token("comment", name, text[at + 4 : closing.start()]), closing.end()
    if foreign and text.startswith("<![CDATA[", at):
        # The standard reads its inside as text. Reading it as markup shows all of it
        # too.
        return None, at + 9
    if following in ("!", "?"):
        return _bogus(text, at + 1)
    return Token("text", "", "<"), at + 1


# Reads a tag that the standard takes for a comment, such as `<!...>` or `</3>`.
def _bogus(text: str, at: int) -> tuple[Token | None, int]:
    closing = text.find(">", at)
    if closing == -1:
        return Token("lost", "a tag that never ends", text[at:]), len(text)
    if closing == at:
        return None, at + 1
    return Token("comment", "declaration", text[at:closing]), closing + 1


# Reads a start or end tag with its attributes. Returns it and the position after it.
def _tag(text: str, opening: int, at: int, kind: str) -> tuple[Token, int]:
    name = _TAG_NAME.match(text, at)
    assert name is not None
    at = name.end()
    attributes = Values()
    count = 0
    while True:
        at = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]
        if text.startswith(">", at):
            return Token(kind, ascii_lower(name.group()), "", attributes), at + 1
        match = _ATTRIBUTE.match(text, at)
        if match is None or match["unended"]:
            return Token("lost", "a tag that never ends", text[opening:]), len(text)
        count += 1
        if count > MAX_ATTRIBUTES:
            raise TooComplex(f"a tag has more than {MAX_ATTRIBUTES} attributes")
        value = match["double"] or match["single"] or match["bare"] or ""
        attributes.setdefault(ascii_lower(match["name"]), value)
        at = match.end()


_PIECE = re.compile(r'<(/?)([a-z][a-z0-9]*)((?: [a-z-]+="[^"]*")*)>|([^<]+)')
_WRITTEN_ATTRIBUTE = re.compile(r' ([a-z-]+)="([^"]*)"')


def pieces_of(regular: str) -> Iterator[Token]:
    """Yield the tags and texts of HTML in the regular form that nh3 and `simplify`
    write. Raises TooComplex for any other.
    """
    position = 0
    while position < len(regular):
        match = _PIECE.match(regular, position)
        if match is None:
            raise TooComplex("its structure is ambiguous")
        position = match.end()
        closing, tag, attributes, text = match.groups()
        if text is not None:
            yield Token("text", "", html.unescape(text))
        elif closing:
            yield Token("end", tag, "")
        else:
            values = Values()
            for name, value in _WRITTEN_ATTRIBUTE.findall(attributes):
                values[name] = html.unescape(value)
            yield Token("start", tag, "", values)


# Limits of one message: open elements, elements opened again by `_carry`, tags closed
# across each other, and formatting elements open in one cell or object.
MAX_DEPTH = 200
MAX_CARRIED = 20_000
MAX_MISNESTED = 500
MAX_OPEN_FORMATTING = 100

FORMATTING = frozenset("a b big code em font i nobr s small strike strong tt u".split())
TABLE_PARTS = frozenset("caption colgroup col tbody thead tfoot tr td th".split())
BLOCKS = frozenset(
    "address article aside blockquote center dd div dl dt figcaption figure footer h1 h2 h3 h4 h5 h6 header hr li main "
    "nav ol p pre section table ul fieldset form details summary dialog menu dir listing".split()
)
HEADINGS = frozenset("h1 h2 h3 h4 h5 h6".split())
VOID = frozenset("br hr img wbr col".split())
_SECTIONS = frozenset({"tbody", "thead", "tfoot"})
_CELLS = frozenset({"td", "th", "caption"})
# Formatting does not reach into or out of these elements.
_MARKERS = _CELLS | {"object", "marquee", "applet"}
_SCOPES = _MARKERS | {"table"}
_IN_SCOPE = BLOCKS | {"object", "marquee", "applet", "button"}


# An entry of the standard's list of active formatting elements. It stays in the list
# with `open` False when the end of a block has closed its element.
@dataclass(slots=True, eq=False)
class _Formatting:
    name: str
    key: str
    open: bool = True


@dataclass(slots=True, eq=False)
class _Open:
    """An open element: its tag in the message, the tag that is written for it, and its
    formatting entry if it has one.
    """

    name: str
    written: str
    formatting: _Formatting | None = None


class Nesting:
    """The elements that are open at one point of a message, by the standard's rules.

    `name` is a tag in the message and `written` the tag that is written in its place.
    """

    def __init__(self) -> None:
        self.open: list[_Open] = []
        # None marks the start of a cell or object.
        self.formatting: list[_Formatting | None] = []
        # How many elements are open, by the tag that is written.
        self.count: Counter[str] = Counter()
        # How many formatting entries are closed and wait to be opened again.
        self.cut_off = 0
        self.carried = 0
        self.misnested = 0

    def prepare(self, name: str, written: str) -> bool:
        """Close the elements that this one closes when it starts, and open formatting
        again. Return whether it may start: False means that the standard ignores it.
        """
        if written in TABLE_PARTS:
            if not self.count["table"]:
                return False
            closes = {
                "td": _CELLS,
                "th": _CELLS,
                "tr": _CELLS | {"tr"},
                "caption": TABLE_PARTS,
                "col": _CELLS,
            }
            wanted = closes.get(written, TABLE_PARTS)
            for _ in range(4):
                if not self._close(wanted, {"table"}):
                    break
            self._pop_to(self._find(TABLE_PARTS | {"table"}))
        else:
            self._leave_table(written)
        if written not in BLOCKS:
            if written == "button" and self.count["button"]:
                self.end(name, written)
            self._carry()
            return True
        # A block closes an open paragraph, and the item or heading before it.
        if written in ("li", "dd", "dt") and (
            self.count["li"] or self.count["dd"] or self.count["dt"]
        ):
            kin = {"li"} if written == "li" else {"dd", "dt"}
            stops = BLOCKS - {"div", "p", "address"} - kin | _SCOPES
            self._close(kin, stops)
        if self.count["p"]:
            self._close({"p"}, _SCOPES | {"button"})
        if written in HEADINGS and self.open and self.open[-1].written in HEADINGS:
            self._pop_to(len(self.open) - 1)
        return True

    def start(self, name: str, written: str, key: str = "") -> None:
        """Open an element after `prepare`. Equal formatting elements have one `key`."""
        if written in VOID:
            return
        entry = None
        if written in FORMATTING:
            since = self._since_marker()
            if len(since) > MAX_OPEN_FORMATTING:
                raise TooComplex("its formatting is never closed")
            alike = [one for one in since if one.key == key]
            if len(alike) >= 3:
                self.formatting.remove(alike[0])
                self.cut_off -= not alike[0].open
            entry = _Formatting(name, key)
            self.formatting.append(entry)
        self._push(_Open(name, written, entry))
        if written in _MARKERS:
            self.formatting.append(None)
        if len(self.open) > MAX_DEPTH:
            raise TooComplex(f"its parts are nested more than {MAX_DEPTH} deep")

    def implied(self, written: str) -> str:
        """Return the tag of the table part that the standard adds around this one;
        empty if that is open already.
        """
        around = {"td": ("tr",), "th": ("tr",), "tr": _SECTIONS}.get(written, ())
        for one in reversed(self.open):
            if not around or one.written in around:
                return ""
            if one.written == "table" or one.written in _SECTIONS:
                return "tbody" if one.written == "table" else "tr"
        return ""

    def end(self, name: str, written: str) -> bool:
        """Close an element; False says that there is none to close and the tag is to be
        left out.
        """
        if written in FORMATTING:
            return self._end_formatting(name)
        if not self.count[written]:
            return False
        if written in TABLE_PARTS or written == "table":
            stops = frozenset({"table"}) - {written}
        else:
            stops = _SCOPES if written in _IN_SCOPE else _IN_SCOPE | _SCOPES
        return self._close({written}, stops, name)

    def text(self) -> None:
        """Follow text other than spaces: it opens formatting again, and between the
        cells of a table the standard moves it out.
        """
        self._leave_table("")
        self._carry()

    def _find(
        self, written: Collection[str], stops: Collection[str] = (), name: str = ""
    ) -> int:
        """Return 1 + the index in `open` of the innermost element written as one of
        `written`, and named `name` if that is given; 0 if one of `stops` comes first.
        """
        for at in range(len(self.open), 0, -1):
            one = self.open[at - 1]
            if one.written in written and name in ("", one.name):
                return at
            if one.written in stops:
                return 0
        return 0

    def _close(
        self, written: Collection[str], stops: Collection[str] = (), name: str = ""
    ) -> bool:
        """Close the element that `_find` finds; return whether there is one."""
        at = self._find(written, stops, name)
        if at:
            self._pop_to(at - 1)
        return bool(at)

    def _push(self, element: _Open) -> None:
        self.open.append(element)
        self.count[element.written] += 1

    def _pop_to(self, depth: int) -> None:
        while len(self.open) > depth:
            gone = self.open.pop()
            self.count[gone.written] -= 1
            if gone.formatting:
                gone.formatting.open = False
                self.cut_off += 1
            if gone.written in _MARKERS:
                while self.formatting and (entry := self.formatting.pop()) is not None:
                    self.cut_off -= not entry.open

    def _leave_table(self, written: str) -> None:
        """Count an element or text that stands in a table outside of its cells: the
        standard moves it before the table.
        """
        if not self.open or self.open[-1].written not in ("table", "tr", *_SECTIONS):
            return
        if written == "table":
            self._close({"table"})
        else:
            self._misnest()

    # Returns the formatting entries of the innermost cell or object, oldest first.
    def _since_marker(self) -> list[_Formatting]:
        since = []
        for entry in reversed(self.formatting):
            if entry is None:
                break
            since.append(entry)
        return since[::-1]

    # Ends the last formatting element with this name; returns whether there is one.
    def _end_formatting(self, name: str) -> bool:
        entry = next(
            (e for e in reversed(self._since_marker()) if e.name == name), None
        )
        if entry is None:
            return False
        self.formatting.remove(entry)
        around = (at for at, one in enumerate(self.open, 1) if one.formatting is entry)
        at = next(around, 0)
        if not at:
            self.cut_off -= 1
        elif any(e.written in BLOCKS for e in self.open[at:]):
            self._misnest()
            del self.open[at - 1]
            self.count[entry.name] -= 1
        else:
            self.open[at - 1].formatting = None
            self._pop_to(at - 1)
        return True

    def _carry(self) -> None:
        """Open again, as the standard does, the formatting elements that the end of a
        block closed.
        """
        if not self.cut_off:
            return
        for entry in self._since_marker():
            if not entry.open:
                entry.open = True
                self._push(_Open(entry.name, entry.name, entry))
                self.cut_off -= 1
                self.carried += 1
        if self.carried > MAX_CARRIED:
            raise TooComplex("its formatting is carried over too many blocks")
        if len(self.open) > MAX_DEPTH:
            raise TooComplex(f"its parts are nested more than {MAX_DEPTH} deep")

    def _misnest(self) -> None:
        self.misnested += 1
        if self.misnested > MAX_MISNESTED:
            raise TooComplex("too many of its tags are closed across each other")
