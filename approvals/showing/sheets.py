"""Reads what a mail says about its looks: style attributes and style sheets, as far as mail programs follow them.

Selectors are judged by their last part alone. Where more than that decides (ancestors, media, position), a rule that
hides is "possible" rather than certain, and is announced as such. Nothing of this text is ever sent to a browser.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from approvals.showing.shown import Doubt

MAX_RULES = 1500
MAX_MATCHES = 200_000
MAX_STYLE = 50_000

PROPERTIES = frozenset(
    "color background background-color background-image font font-size font-weight font-style font-family opacity "
    "display visibility position left right top bottom inset text-indent margin margin-left margin-right margin-top "
    "margin-bottom padding padding-left padding-right padding-top padding-bottom border border-left border-right "
    "border-top border-bottom border-color width height max-width max-height overflow overflow-x overflow-y clip "
    "clip-path transform translate scale z-index line-height letter-spacing text-align text-decoration "
    "text-decoration-line text-transform vertical-align white-space list-style list-style-type border-collapse "
    "mso-hide -webkit-text-fill-color content-visibility zoom filter direction unicode-bidi "
    "-webkit-text-security".split()
)
_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:([0-9a-fA-F]{1,6})[ \t\n\f]?|(.)|\Z)", re.DOTALL)
_PIECE = re.compile(r"""[^;"'()]+|"[^"\n]*"?|'[^'\n]*'?|[();]""")
_SHEET_PIECE = re.compile(r"""[^{}"']+|"[^"\n]*"?|'[^'\n]*'?|[{}]""")
_PLAIN_VALUE = re.compile(r"[a-z0-9#%.,()+\-/ *_]*")
_NOT_PLAIN = re.compile(r"[^a-z0-9#%.,()+\-/ *_]")
_URL = re.compile(r"url\([^()]*\)")
_FETCH = re.compile(r"""(?:url|src)\(\s{0,20}["']?([^"')]{1,4000})|(?:https?:)?//[^\s"')]{1,4000}""", re.IGNORECASE)
_VARIABLE = re.compile(r"var\(\s*(--[\w-]{1,100})\s*(?:,([^()]{0,200}))?\)")
_PARENTHESES = re.compile(r"\([^()]*\)")
_COMPOUND = re.compile(r"([a-z][\w-]*|\*)?((?:[.#][\w-]+)*)")
_IDLE = re.compile(
    r"::?(?:hover|active|focus|focus-within|focus-visible|visited|selection|placeholder|marker|target)\b"
)


@dataclass(frozen=True, eq=False)
class Rule:
    """A selector's last part, what it says, and whether that part alone decides."""

    tag: str
    name: str
    classes: frozenset[str]
    declared: Mapping[str, tuple[str, bool]]
    certain: bool
    weight: tuple[int, int, int, int]


@dataclass
class Sheets:
    """All style sheets of one mail."""

    rules: list[Rule] = field(default_factory=list)
    fetched: list[tuple[str, str]] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    _index: dict[str, list[Rule]] = field(default_factory=lambda: defaultdict(list))
    _memory: dict[tuple[str, str, str], list[Rule]] = field(default_factory=dict)
    _matches: int = 0

    def read(self, text: str) -> None:
        """Add the rules of one style sheet."""
        _SheetReader(self).read(text)

    def matching(self, tag: str, name: str, classes: str) -> list[Rule]:
        """Return the rules whose last part fits an element, weakest first."""
        key = (tag, name, classes)
        if key not in self._memory:
            held = set(classes.split())
            keys = [tag, "*", f"#{name}", *(f".{c}" for c in held)]
            near = [rule for k in keys for rule in self._index.get(k, ())]
            self._matches += len(near)
            if self._matches > MAX_MATCHES:
                raise Doubt("its style sheets are too large to follow")
            fits = [r for r in near if r.tag in ("*", tag) and r.name in ("", name) and r.classes <= held]
            self._memory[key] = sorted(set(fits), key=lambda rule: rule.weight)
        return self._memory[key]

    def add(self, rule: Rule) -> None:
        self.rules.append(rule)
        if len(self.rules) > MAX_RULES:
            raise Doubt("its style sheets are too large to follow")
        key = f"#{rule.name}" if rule.name else f".{min(rule.classes)}" if rule.classes else rule.tag
        self._index[key].append(rule)


def unescaped(text: str) -> str:
    """Return CSS text without comments and escapes. An escaped sign of the grammar becomes U+FFFD and voids a value."""

    def resolve(match: re.Match[str]) -> str:
        code, plain = match.groups()
        character = plain or ""
        if code:
            value = int(code, 16)
            character = chr(value) if 0 < value < 0xD800 or 0xDFFF < value <= 0x10FFFF else "\ufffd"
        return "\ufffd" if character in ";:{}\"'()\\," and character else character

    return _ESCAPE.sub(resolve, _COMMENT.sub(" ", text))


def fetches(text: str) -> list[str]:
    """Return what CSS text would load from elsewhere: url(), image-set() and bare addresses in strings."""
    found = [(m.group(1) or m.group()).strip() for m in _FETCH.finditer(text)]
    return [url for url in found if not url.lower().startswith(("data:", "#"))]


def declarations(text: str, variables: Mapping[str, str] | None = None) -> dict[str, tuple[str, bool]]:
    """Return the properties that matter here from the inside of a style attribute or rule: value, and "important"."""
    if len(text) > MAX_STYLE:
        raise Doubt("a style in it is too large to follow")
    declared: dict[str, tuple[str, bool]] = {}
    own: dict[str, str] = {}
    for part in _split(unescaped(text)):
        name, colon, value = part.partition(":")
        name, value = name.strip().lower(), value.strip().lower()
        if not colon:
            continue
        if name.startswith("--"):
            own[name] = value
            continue
        if name not in PROPERTIES:
            continue
        important = value.endswith("important") and "!" in value
        value = " ".join(value.rpartition("!")[0].split() if important else value.split())
        if "var(" in value:
            value = _with_variables(value, {**(variables or {}), **own})
        value = value.replace('"', "").replace("'", "")
        if not _PLAIN_VALUE.fullmatch(value):
            if not name.startswith("background"):
                continue
            # The colour beside a picture still counts.
            value = " ".join(_NOT_PLAIN.sub(" ", _URL.sub(" ", value)).split())
        if important or not declared.get(name, ("", False))[1]:
            declared.pop(name, None)
            declared[name] = (value, important)
    return declared


def _with_variables(value: str, variables: Mapping[str, str]) -> str:
    for _ in range(3):
        value = _VARIABLE.sub(lambda m: variables.get(m.group(1), m.group(2) or "")[:200], value)
    return value[:1000]


def _split(text: str) -> list[str]:
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


@dataclass
class _Frame:
    """An open block: of a rule when it has selectors, otherwise of an at-rule or the sheet itself."""

    selectors: str
    certain: bool
    is_rule: bool
    body: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)


class _SheetReader:
    """Walks one sheet with a stack of open blocks; nested rules count as possible, not certain."""

    def __init__(self, sheets: Sheets) -> None:
        self.sheets = sheets

    def read(self, text: str) -> None:
        text = unescaped(text.replace("<!--", " ").replace("-->", " "))
        stack = [_Frame("", True, False)]
        for piece in _SHEET_PIECE.findall(text):
            if piece == "{":
                stack.append(self._opened(stack[-1]))
            elif piece == "}":
                if len(stack) > 1:
                    self._closed(stack.pop())
            else:
                stack[-1].text.append(piece)
            if len(stack) > 50:
                raise Doubt("its style sheets are nested too deeply")
        while stack:
            self._closed(stack.pop())

    def _opened(self, around: _Frame) -> _Frame:
        body, _, prelude = "".join(around.text).rpartition(";")
        around.body += [body, ";"]
        around.text = []
        prelude = prelude.strip()
        if not prelude.startswith("@"):
            return _Frame(prelude, around.certain and not around.is_rule, True)
        word, _, condition = prelude[1:].lower().partition(" ")
        plain = word == "media" and condition.strip() in ("", "all", "screen", "only screen", "screen, print")
        return _Frame(around.selectors if around.is_rule else "", around.certain and plain, around.is_rule)

    def _closed(self, frame: _Frame) -> None:
        text = "".join(frame.body + frame.text)
        kind = "style sheet" if "@import" in text else "background picture"
        self.sheets.fetched.extend((kind, url) for url in fetches(text))
        for found in re.findall(r"@import\s{1,20}[\"']([^\"']{1,2000})", text):
            if not found.startswith(("http:", "https:", "//")):
                self.sheets.fetched.append(("style sheet", found))
        if not frame.is_rule:
            return
        for part in _split(text):
            name, _, value = part.partition(":")
            if name.strip().startswith("--"):
                self.sheets.variables[name.strip().lower()] = value.strip().lower()
        declared = declarations(text, self.sheets.variables)
        selectors = frame.selectors.lower() if len(frame.selectors) < 20_000 else "*"
        for _ in range(3):
            selectors = _PARENTHESES.sub(":possibly", selectors)
        for selector in selectors.split(","):
            self._add(selector.strip(), frame, declared, text)

    def _add(self, selector: str, frame: _Frame, declared: Mapping[str, tuple[str, bool]], text: str) -> None:
        last = re.split(r"[\s>+~]+", selector)[-1]
        if re.search(r"::?(?:before|after)\b", last):
            said = re.search(r"content\s{0,20}:\s{0,20}[\"']([^\"']{1,2000})[\"']", text, re.IGNORECASE)
            if said and said.group(1).strip():
                self.sheets.added.append(said.group(1).strip())
            return
        if not declared or _IDLE.search(last):
            return
        last, certain = re.subn(r":(?:link|any-link|root)\b", "", last)[0], frame.certain
        compound = _COMPOUND.match(last)
        assert compound is not None
        certain = certain and last == compound.group() and last == re.sub(r":(link|any-link|root)\b", "", selector)
        parts = re.findall(r"[.#][\w-]+", compound.group(2))
        names = [p[1:] for p in parts if p[0] == "#"]
        classes = frozenset(p[1:] for p in parts if p[0] == ".")
        tag = compound.group(1) or ("html" if ":root" in selector else "*")
        weight = (len(names), len(classes), int(tag != "*"), len(self.sheets.rules))
        self.sheets.add(Rule(tag, names[0] if names else "", classes, declared, certain, weight))
