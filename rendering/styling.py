"""Says of each tag of a message how it is styled: by old attributes, its style sheets and its own style, in that order.

Selectors are judged by their last part alone. Where more than that decides (ancestors, media, position), a rule that
hides is "possible" rather than certain, and is announced as such.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rendering.css import COLOURS, Added, Cascade, Declaration, cleaned, declared, fetches, may_add, named_values
from rendering.css_values import without_vendor
from rendering.elements import CLOSED_BY_DEFAULT, SOMETIMES_SEEN, STYLED_BY_DEFAULT, old_attributes
from rendering.html_reading import NO_NAMES, Token, decode_attribute
from rendering.layout_boxes import Style
from rendering.result import Doubt, Hidden
from rendering.visibility import Look

MAX_RULES = 1500
MAX_MATCHES = 200_000

_SHEET_PIECE = re.compile(r"""[^{}"']+|"[^"\n]*"?|'[^'\n]*'?|[{}]""")
_PARENTHESES = re.compile(r"\([^()]*\)")
# Square brackets with their content, strings first: a selector is split at its spaces.
_BRACKETS = re.compile(r"""\[(?:[^\]"']|"[^"]*"|'[^']*')*\]?""")
_WORD = r"(?:[\w-]|[^\x00-\x7f])+"
_COMPOUND = re.compile(rf"([a-z]{_WORD}|[a-z]|\*)?((?:[.#]{_WORD})*)")
_NAME = re.compile(rf"[.#]{_WORD}")
_NOT_IN_NAMES = re.compile(r"[\x00-\x7f](?<![\w-])")
_SPACES = re.compile(r"[ \t\n\f\r]+")
_COMBINATORS = re.compile(r"[ \t\n\f\r>+~]+")
_IDLE = re.compile(r"::?(?:hover|active|focus|focus-within|focus-visible|visited|selection|placeholder|target)\b")
_ADDS = re.compile(r"::?(?:before|after|marker)\b")


@dataclass(frozen=True, eq=False)
class Rule:
    """A selector's last part, what it says, and whether that part alone decides."""

    tag: str
    name: str
    classes: frozenset[str]
    declared: Sequence[Declaration]
    certain: bool
    weight: tuple[int, int, int, int]
    needs: frozenset[str] = frozenset()  # the ids and classes of what an element of it lies in


@dataclass
class _Frame:
    """An open block: of a rule when it has selectors, otherwise of an at-rule or the sheet itself."""

    selectors: str
    certain: bool
    is_rule: bool
    word: str = ""  # of the at-rule that it is
    moving: str = ""  # the name of the movement that it is part of
    condition: str = ""  # what stands behind the word of the at-rule
    body: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)


@dataclass
class Sheets:
    """All style sheets of one message."""

    rules: list[Rule] = field(default_factory=list)
    fetched: list[tuple[str, str]] = field(default_factory=list)
    added: Added = field(default_factory=Added)
    variables: dict[str, str] = field(default_factory=dict)
    moving: dict[str, list[Declaration]] = field(default_factory=dict)
    needed: set[str] = field(default_factory=set)  # by any rule of what its elements lie in
    present: set[str] = field(default_factory=set)  # the classes that any tag of the message has, as ".name"
    _index: dict[str, list[Rule]] = field(default_factory=lambda: defaultdict(list))
    _memory: dict[tuple[str, str, str], list[Rule]] = field(default_factory=dict)
    _matches: int = 0

    def matching(self, tag: str, name: str, classes: str) -> list[Rule]:
        """Return the rules whose last part fits an element, weakest first."""
        key = (tag, name, classes)
        if key not in self._memory:
            held = {_as_written(word) for word in _SPACES.split(classes)}
            name = _as_written(name)
            keys = [tag, "*", f"#{name}", *(f".{c}" for c in held)]
            near = [rule for k in keys for rule in self._index.get(k, ())]
            self._matches += len(near)
            if self._matches > MAX_MATCHES:
                raise Doubt("its style sheets are too large to evaluate")
            fits = [r for r in near if r.tag in ("*", tag) and r.name in ("", name) and r.classes <= held]
            self._memory[key] = sorted(set(fits), key=lambda rule: rule.weight)
        return self._memory[key]

    def _index_rule(self, rule: Rule) -> None:
        self.rules.append(rule)
        self.needed |= rule.needs
        if len(self.rules) > MAX_RULES:
            raise Doubt("its style sheets are too large to evaluate")
        key = f"#{rule.name}" if rule.name else f".{min(rule.classes)}" if rule.classes else rule.tag
        self._index[key].append(rule)

    def read(self, text: str) -> None:
        """Add the rules of one style sheet, with a stack of open blocks; nested rules are possible, not certain."""
        text = cleaned(text.replace("<!--", " ").replace("-->", " "))
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
            return _Frame(prelude, around.certain and not around.is_rule, True, moving=around.moving)
        word, _, condition = prelude[1:].lower().partition(" ")
        plain = word == "media" and condition.strip() in ("", "all", "screen", "only screen", "screen, print")
        selectors = around.selectors if around.is_rule else ""
        moving = condition.strip(" \"'") if word.endswith("keyframes") else ""
        return _Frame(selectors, around.certain and plain, around.is_rule, word, moving, condition.strip())

    def _closed(self, frame: _Frame) -> None:
        text = "".join(frame.body + frame.text)
        kind = "style sheet" if "@import" in text else "font" if frame.word == "font-face" else "background picture"
        self.fetched.extend((kind, url) for url in fetches(text))
        for found in re.findall(r"@import\s{1,20}[\"']([^\"']{1,2000})", text):
            if not found.startswith(("http:", "https:", "//")):
                self.fetched.append(("style sheet", found))
        self.added.read(text, frame.word)
        if frame.word == "property":
            self.variables[f"{frame.condition}?"] = ""
        if not frame.is_rule:
            return
        for name, value in named_values(text):
            if name.startswith("--"):
                self._set_variable(name, value.lower(), frame)
        found_here = declared(text, self.variables)
        if frame.moving:
            self.moving.setdefault(frame.moving, []).extend(found_here)
            return
        selectors = _BRACKETS.sub(":possibly", frame.selectors.lower()) if len(frame.selectors) < 20_000 else "*"
        for _ in range(3):
            selectors = _PARENTHESES.sub(":possibly", selectors)
        for selector in selectors.split(","):
            self._add(selector.strip(" \t\n\f\r"), frame, found_here)

    def _set_variable(self, name: str, value: str, frame: _Frame) -> None:
        """Keep a variable, and note with a "?" one that is not the same everywhere in the message."""
        variables = self.variables
        is_everywhere = frame.certain and frame.selectors.strip().lower() in (":root", "html", "body", "*")
        if not is_everywhere or variables.get(name, value) != value:
            variables[f"{name}?"] = ""
        variables[name] = value

    def _add(self, selector: str, frame: _Frame, found: Sequence[Declaration]) -> None:
        last = _COMBINATORS.split(selector)[-1]
        if not found or _IDLE.search(last) or _ADDS.search(last):
            return
        last, certain = re.subn(r":(?:link|any-link|root)\b", "", last)[0], frame.certain
        named = set(_NAME.findall(selector))
        if {name for name in named if name[0] == "."} - self.present:
            return
        # The names of an element's siblings are not stored.
        needs = frozenset(
            _NAME.findall(" ".join(_COMBINATORS.split(selector)[:-1])) if not set("+~") & set(selector) else ()
        )
        compound = _COMPOUND.match(last)
        assert compound is not None
        certain = certain and last == compound.group() and last == re.sub(r":(link|any-link|root)\b", "", selector)
        parts = _NAME.findall(compound.group(2))
        names = [p[1:] for p in parts if p[0] == "#"]
        classes = frozenset(p[1:] for p in parts if p[0] == ".")
        tag = compound.group(1) or ("html" if ":root" in selector else "*")
        weight = (len(names), len(classes), int(tag != "*"), len(self.rules))
        self._index_rule(Rule(tag, names[0] if names else "", classes, found, certain, weight, needs))


def _as_written(name: str) -> str:
    """Return an id or class as a selector has it once its escapes are resolved."""
    return _NOT_IN_NAMES.sub("\ufffd", name)


_MOVED_BY = ("animation", "animation-name")
# Properties of which only the text of an element itself can be hidden.
OF_ITS_OWN = re.compile(r"color|opacity|background|filter|mask|visibility|font|content|animation|clip|text-stroke")
OVER = ", which may lie over other text"
_NO_STYLE: Style = {}


class Styled(NamedTuple):
    """The style of an element, why it is hidden, why it may be, and what only some mail programs follow."""

    style: Style
    why: str = ""
    maybe: str = ""
    doubted: Style = _NO_STYLE
    is_unclear: bool = False


class Styling:
    """All style sheets of one message, and what its styles add."""

    def __init__(self) -> None:
        self.sheets = Sheets()
        self._memory: dict[tuple[object, ...], tuple[Cascade, str]] = {}
        self._applied = 0

    def read(self, tokens: Sequence[Token]) -> None:
        """Read the style sheets, and what the tags' own styles add."""
        inside = False
        for token in tokens:
            if token.kind == "start":
                self.sheets.present |= names_of_tag(token)
        for token in tokens:
            if (token.kind == "raw" and token.name == "style") or (token.kind == "text" and inside):
                self.sheets.read(token.data)
            if token.kind in ("start", "end") and token.name == "style":
                inside = token.kind == "start"
            if token.kind == "start" and may_add(style := token.attributes.get("style", "")):
                self.sheets.added.read(cleaned(decode_attribute(style)))

    def added(self, tokens: Sequence[Token]) -> Iterator[tuple[Hidden, str]]:
        """Yield what the styles add to the message, each with the label that announces it."""
        elements = ({n: decode_attribute(v) for n, v in t.attributes.items()} for t in tokens if t.attributes)
        return self.sheets.added.announced(elements)

    def of(self, token: Token, around: frozenset[str] | None = None) -> Styled:
        """Return how this tag is styled; `around` are the ids and classes of what it lies in, None where unknown."""
        attributes = token.attributes
        maybe, why = SOMETIMES_SEEN.get(token.name, ""), ""
        if "open" in attributes or (token.name == "object" and "data" not in attributes):
            maybe = ""
        if not attributes and not self.sheets.rules and token.name not in STYLED_BY_DEFAULT:
            return Styled(_NO_STYLE, "", maybe)
        cascade, possible = self._cascade_of(token, around)
        maybe = possible or maybe
        cascade.apply(declared(decode_attribute(attributes.get("style", "")), self.sheets.variables))
        style = cascade.style()
        maybe = maybe or self._moving(style)
        if cascade.unclear:
            maybe = maybe or _not_followed(cascade.unclear)
        if "popover" in attributes:
            maybe = maybe or "inside a box that opens on a press"
        if "hidden" in attributes:
            why = "hidden attribute"
        if token.name in CLOSED_BY_DEFAULT and "open" not in attributes:
            why = CLOSED_BY_DEFAULT[token.name]
        return Styled(style, why, maybe, cascade.in_doubt(), bool(cascade.unclear))

    def _moving(self, style: Style) -> str:
        """Return why an animation may hide an element at some time; empty where the message has no such animation."""
        words = " ".join(style.get(name, "") for name in _MOVED_BY).replace(",", " ").split()
        return "by an animation" if any(self.sheets.moving.get(word) for word in words) else ""

    def _cascade_of(self, token: Token, around: frozenset[str] | None) -> tuple[Cascade, str]:
        """Return what attributes and sheets say of a tag, and why it may be hidden by them."""
        old = old_attributes(token.name, token.attributes)
        if not old and not self.sheets.rules:
            return Cascade(), ""
        name, classes = (decode_attribute(token.attributes.get(n, "")).lower() for n in ("id", "class"))
        near = None if around is None else around & self.sheets.needed
        key = (token.name, name, classes, near, *(part for pair in old.items() for part in pair))
        if key not in self._memory:
            rules = self.sheets.matching(token.name, name, classes) if self.sheets.rules else []
            rules = rules if near is None else [rule for rule in rules if rule.needs <= near]
            self._memory[key] = self._apply_rules(old, rules)
        cascade, possible = self._memory[key]
        return cascade.copy(), possible

    def _apply_rules(self, old: Mapping[str, str], rules: Sequence[Rule]) -> tuple[Cascade, str]:
        possible = ""
        declarations = [Declaration(name, value, important=False, sure=True) for name, value in old.items() if value]
        cascade = Cascade().apply(declarations)
        for rule in rules:
            cascade.apply(self._counted(rule.declared), certain=rule.certain)
            if not rule.certain and (reason := _hides({one.name: one.value for one in rule.declared})):
                possible = f"{reason} in some windows or mail programs"
        return cascade, possible

    def _counted(self, found: Sequence[Declaration]) -> Sequence[Declaration]:
        self._applied += len(found)
        if self._applied > MAX_MATCHES:
            raise Doubt("its style sheets are too large to evaluate")
        return found


def _not_followed(names: Collection[str]) -> str:
    """Return the reason why text may be hidden by properties of these names."""
    over = "" if all(map(OF_ITS_OWN.match, map(without_vendor, names))) else OVER
    return f"by a style that the desk does not evaluate: {', '.join(sorted(names)[:3])}{over}"


def names_of_tag(token: Token) -> frozenset[str]:
    """Return the id and the classes of a tag as selectors write them."""
    if "id" not in token.attributes and "class" not in token.attributes:
        return NO_NAMES
    name, classes = (decode_attribute(token.attributes.get(key, "")).lower() for key in ("id", "class"))
    found = {f".{_as_written(word)}" for word in _SPACES.split(classes) if word}
    return frozenset(found | {f"#{_as_written(name)}"} if name else found)


def _hides(style: Style) -> str:
    """Return why text of this style is hidden whatever it lies on."""
    look = Look().inside({name: value for name, value in style.items() if name not in COLOURS})
    return look.hides()


def written_style(style: Style) -> str:
    """Return a style as the attribute of the plain form that `read_style` reads."""
    return ";".join(f"{name}:{value}" for name, value in style.items())


def read_style(written: str) -> Style:
    """Return a style as the plain form holds it."""
    return dict(part.split(":", 1) for part in written.split(";") if ":" in part)
