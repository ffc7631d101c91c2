"""Cuts HTML into tags and texts, as its standard does.

The tokens come in one pass that never goes back, so the time is linear for any input.
Text that the standard drops (in a tag that never ends) becomes a "lost" token, so that
it can be noted.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.entities import html5

from simple_form.result import TooComplex

MAX_ATTRIBUTES = 100
BLANKS = "\t\n\f\r "

TABLE_PARTS = frozenset("caption colgroup col tbody thead tfoot tr td th".split())
BLOCKS = frozenset(
    """
    address article aside blockquote center dd div dl dt figcaption figure footer h1 h2
    h3 h4 h5 h6 header hr li main nav ol p pre section table ul fieldset form details
    summary dialog menu dir listing
    """.split()
)
VOID = frozenset("br hr img wbr col".split())
_FOREIGN = frozenset(("svg", "math"))
# Elements of a drawing or formula in which HTML may stand.
_HTML_INSIDE = frozenset(
    "foreignobject desc title annotation-xml mi mo mn ms mtext".split()
)
# Elements whose inside is text up to their end tag. By the standard a template is not:
# if one stands in another, this reading ends early and shows more.
_RAW = frozenset(
    "script style xmp iframe noembed noframes title textarea template".split()
)
# Of these, character references ("&amp;") are still resolved.
_DECODED = frozenset(("title", "textarea"))

_ATTRIBUTE = r"""
    ([^\t\n\f\r />][^\t\n\f\r />=]*+)
    (?:[\t\n\f\r ]*+=[\t\n\f\r ]*+ (?:"([^"]*+)"|'([^']*+)'|["'].*+|([^\t\n\f\r >]*+)))?+
"""
_ATTRIBUTES = re.compile(_ATTRIBUTE, re.VERBOSE | re.DOTALL)
_MARKUP = re.compile(
    rf"""
    (?P<text> [^<]++ | <(?![A-Za-z/!?]) | </\Z)
    | (?P<tag> </?[A-Za-z][^\t\n\f\r />]*+
        (?:[\t\n\f\r /]++ | {re.sub("[(](?![?])", "(?:", _ATTRIBUTE)})*+ >)
    | (?P<abrupt> <!--(?: -?> | (?:(?!--!?>).)*+--!>))
    | (?P<comment> <!--.*?-->)
    | (?P<lost> <(?:/?[A-Za-z]|!--).*+ | <!\[CDATA\[[^>]*+>? | <[/!?][^>]*+\Z)
    | (?P<declaration> <[/!?][^>]*+>)
    """,
    re.VERBOSE | re.DOTALL,
)
_TAG_NAME = re.compile(r"</?([^\t\n\f\r />]+)")
_REFERENCE = re.compile(
    "&(?:#(?P<hex>[xX])?0*(?P<digits>(?(hex)[0-9a-fA-F]|[0-9])+);?"
    "|(?P<name>[A-Za-z][A-Za-z0-9]*+;?))"
)
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


@dataclass(frozen=True, eq=False, slots=True)
class Token:
    """A piece of HTML. `kind` is start, end, text, raw (the inside of an element that
    has no tags inside), comment, or lost (text that the standard drops; `name` is why).

    Document types and other tags that begin with `<!` or `<?` are comments with the
    name "declaration"; "abrupt" ones end in a way that some programs do not know. Equal
    tags of a message are one token.
    """

    kind: str
    name: str
    data: str
    attributes: Values = field(default_factory=Values)

    def decoded(self) -> Values:
        """Return the attributes with character references resolved as in browsers:
        `&copy=1` stays as it is.
        """
        values = self.attributes.items()
        return Values({name: decode(value, attribute=True) for name, value in values})


def decode(text: str, *, attribute: bool = False) -> str:
    """Return `text` with its character references resolved."""

    def resolve(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            digits = match["digits"]
            if len(digits) > 7:
                return "\ufffd"
            # Python leaves out control characters.
            return html.unescape(f"&#{match['hex'] or ''}{digits};") or "\ufffd"
        is_kept = not name.endswith(";") and text.startswith("=", match.end())
        if attribute and (is_kept or name not in html5):
            return match[0]
        return html.unescape(match[0])

    return _REFERENCE.sub(resolve, text) if "&" in text else text


def tokens(source: str) -> Iterator[Token]:
    """Yield the tokens of `source`.

    In svg and math, the standard reads style, title and script as ordinary markup. If
    HTML stands inside of these again, only the whole tree tells where that ends: so all
    that follows is read as markup, which shows too much rather than too little.
    """
    text = source.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\ufffd")
    known: dict[str, Token] = {}
    foreign = 0
    at = 0
    while match := _MARKUP.match(text, at):
        at = match.end()
        kind = match.lastgroup or ""
        if kind == "text":
            yield Token("text", "", decode(match[0]))
            continue
        if kind == "lost":
            yield Token("lost", "a tag that never ends", match[0])
            continue
        if kind != "tag":
            data = match[0].removeprefix("<!--").removesuffix("-->")
            yield Token("comment", kind, data)
            continue
        token = known.get(match[0]) or _tag(match[0])
        known[match[0]] = token
        yield token
        if token.name in _FOREIGN:
            foreign = max(foreign + (1 if token.kind == "start" else -1), 0)
        elif foreign and token.name in _HTML_INSIDE:
            foreign = len(text)
        elif foreign or token.kind == "end":
            continue
        elif token.name == "plaintext":
            yield Token("text", "", text[at:])
            return
        elif token.name in _RAW:
            end = re.compile(rf"(?ai:</{token.name})(?=[\t\n\f\r />])").search(text, at)
            if end is None:
                yield Token("lost", f"<{token.name}> that never ends", text[at:])
                return
            inside = text[at : end.start()]
            if token.name in _DECODED:
                inside = decode(inside)
            yield Token("raw", token.name, inside)
            at = end.start()


def _tag(written: str) -> Token:
    name = _TAG_NAME.match(written)
    assert name is not None
    found = _ATTRIBUTES.findall(written[name.end() : -1])
    if len(found) > MAX_ATTRIBUTES:
        raise TooComplex(f"a tag has more than {MAX_ATTRIBUTES} attributes")
    attributes = Values()
    for attribute, *values in found:
        attributes.setdefault(ascii_lower(attribute), "".join(values))
    kind = "end" if written.startswith("</") else "start"
    return Token(kind, ascii_lower(name[1]), "", attributes)


def pieces_of(simple: str) -> Iterator[Token]:
    """Yield the tags and texts of HTML that `simplify` returned, decoded."""
    for token in tokens(simple):
        yield Token(token.kind, token.name, token.data, token.decoded())
