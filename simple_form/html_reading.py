"""Cuts HTML into tags and texts, as its standard does.

The tokens come in one pass that never goes back, so the time is linear for any input.
Text that the standard drops (in a tag that never ends) becomes a "lost" token, so that
it can be noted.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
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
# Elements whose inside is text up to their end tag. By the standard, templates are not,
# and none is inside of a drawing or formula: there, this reading shows more.
_RAW = frozenset(
    "script style xmp iframe noembed noframes title textarea template plaintext".split()
)
_ATTRIBUTE = r"""
    ([^\t\n\f\r />][^\t\n\f\r />=]*+)
    (?:[\t\n\f\r ]*+=[\t\n\f\r ]*+ (?:"([^"]*+)"|'([^']*+)'|["'].*+|([^\t\n\f\r >]*+)))?+
"""
_ATTRIBUTES = re.compile(f"(?xs){_ATTRIBUTE}")
_MARKUP = re.compile(
    rf"""(?xs)
    (?P<text> [^<]++ | <(?![A-Za-z/!?]) | </\Z)
    | (?P<tag> </?[A-Za-z][^\t\n\f\r />]*+
        (?:[\t\n\f\r /]++ | {re.sub("[(](?![?])", "(?:", _ATTRIBUTE)})*+ >)
    | (?P<abrupt> <!--(?: -?> | (?:(?!--!?>).)*+--!>))
    | (?P<comment> <!--.*?-->)
    | (?P<lost> <(?:/?[A-Za-z]|!--).*+ | <!\[CDATA\[[^>]*+>? | <[/!?][^>]*+\Z)
    | (?P<declaration> <[/!?][^>]*+>)
    """
)
_TAG = re.compile(r"(?s)\A<(/?)([^\t\n\f\r />]++)(.*)>")
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
    data: str = ""
    attributes: Values = field(default_factory=Values)


def decode(text: str, *, attribute: bool = False) -> str:
    """Return `text` with its character references resolved; in the value of an
    attribute as browsers do it there, so that `&copy=1` stays as it is.
    """

    def resolve(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            # Python leaves out control characters, and refuses very long numbers.
            digits = f"{match['hex'] or ''}{match['digits'][:9]}"
            return html.unescape(f"&#{digits};") or "\ufffd"
        is_kept = not name.endswith(";") and text.startswith("=", match.end())
        if attribute and (is_kept or name not in html5):
            return match[0]
        return html.unescape(match[0])

    return _REFERENCE.sub(resolve, text)


def tokens(source: str) -> Iterator[Token]:
    """Yield the tokens of `source`."""
    text = source.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "\ufffd")
    read = cache(_tag)
    has_drawing = False
    at = 0
    while match := _MARKUP.match(text, at):
        at = match.end()
        kind = match.lastgroup
        written = match[0]
        if kind == "text":
            yield Token("text", "", decode(written))
        elif kind == "lost":
            written = written.removeprefix("<![CDATA[")
            yield Token("lost", "a tag that never ends", written)
        elif kind and kind != "tag":
            data = written.removeprefix("<!--").removesuffix("-->")
            yield Token("comment", kind, data)
        else:
            token = read(written)
            yield token
            name = token.name
            has_drawing |= name in ("svg", "math")
            if token.kind == "end" or has_drawing or name not in _RAW:
                continue
            end = re.compile(rf"(?ai:</{name})(?=[\t\n\f\r />])").search(text, at)
            if end is None:
                yield Token("lost", f"<{name}> that never ends", text[at:])
                return
            yield Token("raw", name, text[at : end.start()])
            at = end.start()


def _tag(written: str) -> Token:
    slash, name, inside = _TAG.findall(written)[0]
    attributes = Values()
    found = _ATTRIBUTES.findall(inside)
    if len(found) > MAX_ATTRIBUTES:
        raise TooComplex(f"a tag has more than {MAX_ATTRIBUTES} attributes")
    for attribute, *values in found:
        value = decode("".join(values), attribute=True)
        attributes.setdefault(ascii_lower(attribute), value)
    return Token("end" if slash else "start", ascii_lower(name), "", attributes)
