"""Reads what a mail says about its looks: style attributes and style sheets, as far as mail programs follow them.

Selectors are judged by their last part alone. Where more than that decides (ancestors, media, position), a rule that
hides is "possible" rather than certain, and is announced as such. Nothing of this text is ever sent to a browser.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rendering.adding import Added
from rendering.css import Declaration, cleaned, declared, fetches, named_values
from rendering.shown import Doubt

MAX_RULES = 1500
MAX_MATCHES = 200_000

_SHEET_PIECE = re.compile(r"""[^{}"']+|"[^"\n]*"?|'[^'\n]*'?|[{}]""")
_PARENTHESES = re.compile(r"\([^()]*\)")
# What stands in square brackets, strings first: a selector is cut at its blanks.
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
class Sheets:
    """All style sheets of one mail."""

    rules: list[Rule] = field(default_factory=list)
    fetched: list[tuple[str, str]] = field(default_factory=list)
    added: Added = field(default_factory=Added)
    variables: dict[str, str] = field(default_factory=dict)
    moving: dict[str, list[Declaration]] = field(default_factory=dict)
    needed: set[str] = field(default_factory=set)  # by any rule of what its elements lie in
    present: set[str] = field(default_factory=set)  # the classes that any tag of the letter has, as ".name"
    _index: dict[str, list[Rule]] = field(default_factory=lambda: defaultdict(list))
    _memory: dict[tuple[str, str, str], list[Rule]] = field(default_factory=dict)
    _matches: int = 0

    def read(self, text: str) -> None:
        """Add the rules of one style sheet."""
        _SheetReader(self).read(text)

    def see(self, names: Iterable[str]) -> None:
        """Note the names of a tag: a rule that asks for classes of no tag is of none."""
        self.present.update(names)

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
                raise Doubt("its style sheets are too large to follow")
            fits = [r for r in near if r.tag in ("*", tag) and r.name in ("", name) and r.classes <= held]
            self._memory[key] = sorted(set(fits), key=lambda rule: rule.weight)
        return self._memory[key]

    def add(self, rule: Rule) -> None:
        self.rules.append(rule)
        self.needed |= rule.needs
        if len(self.rules) > MAX_RULES:
            raise Doubt("its style sheets are too large to follow")
        key = f"#{rule.name}" if rule.name else f".{min(rule.classes)}" if rule.classes else rule.tag
        self._index[key].append(rule)


def names_of(name: str, classes: str) -> frozenset[str]:
    """Return the id and the classes of a tag as selectors write them."""
    found = {f".{_as_written(word)}" for word in _SPACES.split(classes) if word}
    return frozenset(found | {f"#{_as_written(name)}"} if name else found)


def _as_written(name: str) -> str:
    """Return an id or class as a selector has it once its escapes are resolved."""
    return _NOT_IN_NAMES.sub("\ufffd", name)


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


class _SheetReader:
    """Walks one sheet with a stack of open blocks; nested rules count as possible, not certain."""

    def __init__(self, sheets: Sheets) -> None:
        self.sheets = sheets

    def read(self, text: str) -> None:
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
        self.sheets.fetched.extend((kind, url) for url in fetches(text))
        for found in re.findall(r"@import\s{1,20}[\"']([^\"']{1,2000})", text):
            if not found.startswith(("http:", "https:", "//")):
                self.sheets.fetched.append(("style sheet", found))
        self.sheets.added.read(text, frame.word)
        if frame.word == "property":
            self.sheets.variables[f"{frame.condition}?"] = ""
        if not frame.is_rule:
            return
        for name, value in named_values(text):
            if name.startswith("--"):
                self._set_variable(name, value.lower(), frame)
        found_here = declared(text, self.sheets.variables)
        if frame.moving:
            self.sheets.moving.setdefault(frame.moving, []).extend(found_here)
            return
        selectors = _BRACKETS.sub(":possibly", frame.selectors.lower()) if len(frame.selectors) < 20_000 else "*"
        for _ in range(3):
            selectors = _PARENTHESES.sub(":possibly", selectors)
        for selector in selectors.split(","):
            self._add(selector.strip(" \t\n\f\r"), frame, found_here)

    def _set_variable(self, name: str, value: str, frame: _Frame) -> None:
        """Keep a variable, and note with a "?" one that is not the same everywhere in the letter."""
        variables = self.sheets.variables
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
        if {name for name in named if name[0] == "."} - self.sheets.present:
            return
        # Of what stands beside an element nobody keeps the names.
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
        weight = (len(names), len(classes), int(tag != "*"), len(self.sheets.rules))
        self.sheets.add(Rule(tag, names[0] if names else "", classes, found, certain, weight, needs))
