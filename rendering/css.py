"""Reads CSS text as its standard cuts it, cascades what it declares as mail programs do, and finds what it adds.

One pass separates comments, strings, escapes and addresses, so that none of them can swallow what follows.
Nothing of this text is ever sent to a browser.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from rendering.css_values import is_followed, is_harmless, is_sure, without_vendor
from rendering.result import Doubt, Hidden

MAX_STYLE = 50_000
MAX_REMEMBERED = 400

PROPERTIES = frozenset(
    "all color background background-color background-image font font-size font-weight font-style font-family opacity "
    "display visibility position left right top bottom inset text-indent margin margin-left margin-right margin-top "
    "margin-bottom padding padding-left padding-right padding-top padding-bottom border border-left border-right "
    "border-top border-bottom border-color border-width border-left-width border-top-width "
    "width height max-width max-height overflow overflow-x overflow-y clip offset offset-path "
    "clip-path transform translate scale rotate z-index line-height letter-spacing word-spacing text-align "
    "text-decoration text-decoration-line text-transform vertical-align white-space list-style list-style-type "
    "border-collapse mso-hide -webkit-text-fill-color content-visibility zoom filter direction unicode-bidi "
    "-webkit-text-security mask mask-image -webkit-mask -webkit-mask-image mix-blend-mode contain -webkit-line-clamp "
    "animation animation-name font-size-adjust float clear order "
    "flex-direction flex-flow flex-wrap grid-auto-flow grid grid-area grid-row grid-row-start grid-row-end grid-column "
    "grid-column-start grid-column-end grid-template grid-template-areas caption-side writing-mode box-direction "
    "min-height min-width border-right-width border-bottom-width".split()
)
# Names that depend on the direction of writing, which is assumed to be left to right.
_ALIASES = {
    f"{box}{side}": f"{box}-{edge}"
    for box in ("margin", "padding")
    for side, edge in (
        ("-inline", "left"), ("-inline-start", "left"), ("-inline-end", "right"),
        ("-block", "top"), ("-block-start", "top"), ("-block-end", "bottom"),
    )
} | {
    "inset-inline": "left", "inset-inline-start": "left", "inset-inline-end": "right",
    "inset-block": "top", "inset-block-start": "top", "inset-block-end": "bottom",
    "block-size": "height", "inline-size": "width", "max-block-size": "max-height", "max-inline-size": "max-width",
    "overflow-block": "overflow-y", "overflow-inline": "overflow-x",
    "border-inline": "border-left", "border-inline-start": "border-left", "border-block-start": "border-top",
    "border-inline-start-width": "border-left-width", "border-block-start-width": "border-top-width",
    "margin-start": "margin-left", "margin-end": "margin-right", "margin-before": "margin-top",
    "margin-after": "margin-bottom", "padding-start": "padding-left", "padding-before": "padding-top",
    "flex-order": "order", "box-ordinal-group": "order", "text-wrap": "white-space", "text-wrap-mode": "white-space",
    "logical-height": "height", "logical-width": "width", "max-logical-height": "max-height",
}  # fmt: skip
# What a shorthand sets back before it sets anything.
_SETS_BACK = {
    "background": ("background-color", "background-image"),
    "font": ("font-size", "font-family", "font-size-adjust"),
    "margin": ("margin-left", "margin-right", "margin-top", "margin-bottom"),
    "padding": ("padding-left", "padding-right", "padding-top", "padding-bottom"),
    "overflow": ("overflow-x", "overflow-y"),
    "inset": ("left", "right", "top", "bottom"),
}
COLOURS = frozenset({"color", "background-color", "background", "background-image", "-webkit-text-fill-color"})
# Of these more counts than the words that stand beside an address.
_DRAWN_WITH = ("mask", "-webkit-mask", "clip-path", "filter", "offset")

_U, _R, _L = (
    rf"(?:\\?{low}|\\0{{0,4}}(?:{codes})[ \t\n]?)" for low, codes in (("u", "[57]5"), ("r", "[57]2"), ("l", "[46]c"))
)
_LEXEME = re.compile(
    r"/\*.*?(?:\*/|\Z)"
    r"""|"(?:[^"\\\n]|\\.)*"?|'(?:[^'\\\n]|\\.)*'?"""
    rf"""|(?<![\w-]){_U}{_R}{_L}\((?!\s*["'])(?:[^)\\]|\\.)*\)?"""
    r"|\\(?:[0-9a-f]{1,6}[ \t\n]?|.|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_ESCAPE = re.compile(r"\\(?:([0-9a-fA-F]{1,6})[ \t\n]?|(.)|\Z)", re.DOTALL)
_PIECE = re.compile(r"""[^;"'()]+|"[^"\n]*"?|'[^'\n]*'?|[();]""")
_IN_STRING = frozenset(";:{}\"'()\\,")
_IN_URL = re.compile(r"[\"'(){}\s]")
_PLAIN_VALUE = re.compile(r"[a-z0-9#%.,()+\-/ *_]*")
_NOT_PLAIN = re.compile(r"[^a-z0-9#%.,()+\-/ *_]")
_URL = re.compile(r"url\([^()]*\)")
_FETCH = re.compile(r"""(?:url|src)\(\s{0,20}["']?([^"')]{1,4000})|(?:https?:)?//[^\s"')]{1,4000}""", re.IGNORECASE)
_NAME = re.compile(r"-?[a-z][a-z0-9-]*")
_NAMED = re.compile(r"var\(\s*(--[\w-]{1,100})?")
_VARIABLE = re.compile(r"var\(\s*(--[\w-]{1,100})\s*(?:,([^()]{0,200}))?\)")


class Declaration(NamedTuple):
    """One property with its value.

    Not `sure`: some mail programs, or all, ignore this value. Not `clear`: the desk cannot tell what it does.
    """

    name: str
    value: str
    important: bool
    sure: bool
    clear: bool = True


@dataclass
class Cascade:
    """What is declared for one element: what always holds, and what only some mail programs or windows follow."""

    held: dict[str, tuple[str, bool]] = field(default_factory=dict)
    doubted: dict[str, tuple[str, bool]] = field(default_factory=dict)
    unclear: set[str] = field(default_factory=set)

    def apply(self, declared: Iterable[Declaration], *, certain: bool = True) -> "Cascade":
        """Apply declarations over those held. Those that are not certain count only in doubt."""
        for one in declared:
            if self.held.get(one.name, ("", False))[1] and not one.important:
                continue
            if not one.clear:
                self.unclear.add(one.name)
                if not one.value:
                    continue
            if one.name not in PROPERTIES:
                self.unclear -= {one.name} if certain else set()
            elif not certain:
                self.doubted[one.name] = (one.value, one.important)
            elif one.sure:
                self._hold(one)
            elif self.held.get(one.name, ("", False))[0]:
                self.doubted[one.name] = (one.value, one.important)
            else:
                self.held[one.name] = (one.value, one.important)
                # A computed colour may be any colour; other values that are not followed change nothing.
                self.doubted[one.name] = ("transparent" if _is_computed(one) else "", one.important)
        return self

    def _hold(self, one: Declaration) -> None:
        if one.name == "all":
            self.held = {} if one.important else {name: held for name, held in self.held.items() if held[1]}
            return
        if one.clear:
            self.unclear.discard(one.name)
        # What is important stays in force, as if it had been declared after the shorthand.
        stays: dict[str, tuple[str, bool]] = {}
        for name in (one.name, *_SETS_BACK.get(one.name, ())):
            held = self.held.pop(name, ("", False))
            if held[1] and not one.important:
                stays[name] = held
            if one.important or not self.doubted.get(name, ("", False))[1]:
                self.doubted.pop(name, None)
        self.held |= {one.name: (one.value, one.important)} | stays

    def copy(self) -> "Cascade":
        return Cascade(dict(self.held), dict(self.doubted), set(self.unclear))

    def style(self) -> dict[str, str]:
        """Return what holds in any case."""
        return {name: value for name, (value, _) in self.held.items() if value}

    def in_doubt(self) -> dict[str, str]:
        """Return what some mail programs follow instead; an empty value where the property does not hold for them."""
        return {name: value for name, (value, _) in self.doubted.items()}


def _is_computed(one: Declaration) -> bool:
    return one.name in ("color", "-webkit-text-fill-color") and "(" in one.value


def cleaned(text: str) -> str:
    """Return CSS text without comments and escapes.

    An escaped sign of the grammar becomes U+FFFD, as do quotes and brackets inside an address without quotes.
    """
    return _LEXEME.sub(_clean, text.replace("\f", "\n")) if set(text) & set("\\/\"'(\f") else text


def _clean(match: re.Match[str]) -> str:
    found = match.group()
    if found.startswith("/*"):
        return " "
    if found[0] in "\"'":
        return _ESCAPE.sub(_in_string, found)
    if _ESCAPE.fullmatch(found):
        return _ESCAPE.sub(_outside, found)
    address = _ESCAPE.sub(_in_string, found.partition("(")[2].removesuffix(")")).strip()
    return f"url({_IN_URL.sub(chr(0xFFFD), address)})"


def _in_string(match: re.Match[str]) -> str:
    character = _escaped(match)
    # A line that goes on in the next one.
    return "" if match.group(2) == "\n" else "\ufffd" if character in _IN_STRING and character else character


def _outside(match: re.Match[str]) -> str:
    character = _escaped(match)
    is_identifier = character.isalnum() or character in "_-" or character > "\x7f"
    return character if is_identifier or not character else "\ufffd"


def _escaped(match: re.Match[str]) -> str:
    code, plain = match.groups()
    if not code:
        return plain or ""
    value = int(code, 16)
    return chr(value) if 0 < value < 0xD800 or 0xDFFF < value <= 0x10FFFF else "\ufffd"


def fetches(text: str) -> list[str]:
    """Return what CSS text would load from elsewhere: url(), image-set() and bare addresses in strings."""
    found = [(m.group(1) or m.group()).strip() for m in _FETCH.finditer(text)]
    return [url for url in found if not url.lower().startswith(("data:", "#"))]


def declared(text: str, variables: Mapping[str, str] | None = None) -> Sequence[Declaration]:
    """Return the properties that matter here from the inside of a style attribute or rule, in their order."""
    if len(text) > MAX_STYLE:
        raise Doubt("a style in it is too large to evaluate")
    # Messages say the same style many times.
    if len(text) < MAX_REMEMBERED and "--" not in text and "\\" not in text:
        return _remembered(text)
    return _declared(text, variables or {})


@lru_cache(maxsize=2048)
def _remembered(text: str) -> Sequence[Declaration]:
    return _declared(text, {})


def _declared(text: str, variables: Mapping[str, str]) -> Sequence[Declaration]:
    found: list[Declaration] = []
    own: dict[str, str] = {}
    for name, value in named_values(cleaned(text)):
        value = value.lower()
        if name.startswith("--"):
            own[name] = value
            continue
        plain = name if name in PROPERTIES else without_vendor(name)
        plain = _ALIASES.get(plain, plain)
        if name == "-webkit-text-decoration":
            found.append(Declaration(name, "", important=False, sure=True, clear=False))
        elif plain in PROPERTIES:
            found += _declaration(plain, value, variables, own)
        elif _NAME.fullmatch(plain):
            plain_value = " ".join(value.rpartition("!")[0].split() if value.endswith("important") else value.split())
            found.append(Declaration(name, "", False, True, is_harmless(name, plain_value)))
    return tuple(found)


def _declaration(name: str, value: str, variables: Mapping[str, str], own: Mapping[str, str]) -> Iterator[Declaration]:
    important = value.endswith("important") and "!" in value
    value = " ".join(value.rpartition("!")[0].split() if important else value.split())
    is_known = True
    if "var(" in value:
        is_known = all(named in own or _is_settled(variables, named) for named in _NAMED.findall(value))
        value = _with_variables(value, {**variables, **own})
    value = value.replace('"', "").replace("'", "")
    if not _PLAIN_VALUE.fullmatch(value):
        if name.startswith(_DRAWN_WITH):
            is_known = is_known and (name != "filter" or "progid" in value)
            value = "picture"
        elif not name.startswith("background"):
            if "(" in value or not is_harmless(name, value):
                yield Declaration(name, "", important, sure=False, clear=False)
            return
        # The colour of a background with a picture still counts.
        value = " ".join(_NOT_PLAIN.sub(" ", _URL.sub(" ", value)).split())
    yield Declaration(name, value, important, is_sure(name, value), is_known and is_followed(name, value))


def _is_settled(variables: Mapping[str, str], named: str) -> bool:
    """Whether a variable has the same value wherever it is used."""
    return named in variables and f"{named}?" not in variables


def named_values(text: str) -> Iterator[tuple[str, str]]:
    """Yield each name of a declaration with its value, from text that is cleaned."""
    for part in split(text):
        name, colon, value = part.partition(":")
        if colon:
            yield name.strip().lower(), value.strip()


def _with_variables(value: str, variables: Mapping[str, str]) -> str:
    for _ in range(3):
        value = _VARIABLE.sub(lambda m: variables.get(m.group(1), m.group(2) or "")[:200], value)
    return value[:1000]


def split(text: str) -> list[str]:
    """Return the parts of cleaned text between semicolons, those in strings and brackets left alone."""
    parts: list[str] = []
    held: list[str] = []
    depth = 0
    for piece in _PIECE.findall(text):
        if piece == ";" and depth == 0:
            parts.append("".join(held))
            held = []
            continue
        depth += (piece == "(") - (piece == ")" and depth > 0)
        held.append(piece)
    return [*parts, "".join(held)]


MAX_TEXTS = 200

_ADDING = frozenset(
    "content list-style list-style-type quotes text-overflow symbols additive-symbols prefix suffix".split()
)
_COUNTING = frozenset("counter-reset counter-set counter-increment".split())
_WORTH_READING = re.compile("content|list-style|quotes|text-overflow|symbols|fix|counter-|--", re.IGNORECASE)
_STRING = re.compile(r"""["']([^"'\n]{1,2000})["']""")
_ATTR_CALL = re.compile(r"\battr\(\s{0,20}([a-z][\w-]{0,60})", re.IGNORECASE)
_COUNTER = re.compile(r"\bcounters?\(", re.IGNORECASE)
_CARRIED = re.compile(r"""(?:url|src|image-set)\(\s{0,20}["']?data:""", re.IGNORECASE)
_FONT_DRAWN = re.compile(r"""url\(\s{0,20}["']?data:""", re.IGNORECASE)


_MAY_ADD = re.compile(r"\\|content|list-style|quotes|text-overflow|counter-|data:", re.IGNORECASE)


def may_add(style: str) -> bool:
    """Whether the style of a tag is worth reading for what it adds."""
    return bool(_MAY_ADD.search(style))


@dataclass
class Added:
    """What the styles read so far add."""

    texts: dict[str, None] = field(default_factory=dict)
    variables: dict[str, None] = field(default_factory=dict)
    attributes: dict[str, None] = field(default_factory=dict)
    counts: dict[str, None] = field(default_factory=dict)
    is_counted: bool = False
    is_variable: bool = False
    draws: bool = False
    has_font: bool = False

    def read(self, text: str, at_rule: str = "") -> None:
        """Note what cleaned CSS text adds; `at_rule` is the word of the block it is the inside of."""
        if at_rule == "font-face":
            self.has_font = self.has_font or bool(_FONT_DRAWN.search(text))
            return
        self.draws = self.draws or bool(_CARRIED.search(text))
        if not _WORTH_READING.search(text):
            return
        for name, value in named_values(text):
            if name.startswith("--"):
                self._words(value, self.variables)
            elif name in _ADDING:
                self._words(value, self.texts)
                self.is_variable = self.is_variable or "var(" in value.lower()
            if name == "content":
                self.attributes |= dict.fromkeys(_ATTR_CALL.findall(value.lower()))
                self.is_counted = self.is_counted or bool(_COUNTER.search(value))
            elif name in _COUNTING and value.lower() != "none":
                self.counts[" ".join(value.split())[:200]] = None

    def _words(self, value: str, texts: dict[str, None]) -> None:
        joined = "".join(_STRING.findall(value)).strip()
        if joined and len(texts) < MAX_TEXTS:
            texts[joined] = None

    def announced(self, elements: Iterable[Mapping[str, str]]) -> Iterator[tuple[Hidden, str]]:
        """Yield what is added, each with the label that announces it. `elements` are the attributes of all tags."""
        texts = self.texts | (self.variables if self.is_variable else {})
        if self.attributes:
            for attributes in elements:
                texts |= {attributes[n].strip(): None for n in self.attributes if attributes.get(n, "").strip()}
        for text in list(texts)[:MAX_TEXTS]:
            yield Hidden(text, "added by the style sheet", certain=False), f"a style sheet adds the text: “{text}”"
        if self.is_counted:
            how = ", ".join(self.counts)[:300]
            yield Hidden("", "numbers that a style sheet adds", certain=False), f"a style sheet adds numbers ({how})"
        if self.draws:
            yield (
                Hidden("", "a picture inside a style", certain=False),
                "a style paints a picture that is not shown here",
            )
        if self.has_font:
            yield (
                Hidden("", "a font included in the message", certain=False),
                "the message includes a font, which may show different characters",
            )
