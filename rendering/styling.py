"""Says of each tag of a mail how it is styled: by old attributes, its style sheets and its own style, in that order."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from rendering.adding import may_add
from rendering.boxes import Style
from rendering.css import COLOURS, Cascade, Declaration, cleaned, declared
from rendering.elements import CLOSED_BY_DEFAULT, SOMETIMES_SEEN, STYLED_BY_DEFAULT, old_attributes
from rendering.hidden import Look
from rendering.nesting import NO_NAMES
from rendering.sheets import MAX_MATCHES, Rule, Sheets, names_of
from rendering.shown import Doubt, Hidden
from rendering.tokens import Token, decode
from rendering.understood import without_vendor

_MOVED_BY = ("animation", "animation-name")
# Properties of which only the text of an element itself can be hidden.
OF_ITS_OWN = re.compile(r"color|opacity|background|filter|mask|visibility|font|content|animation|clip|text-stroke")
OVER = ", which may lie over other text"
_NO_STYLE: Style = {}


class Styled(NamedTuple):
    """The style of an element, a reason why all of it is hidden, one why it may be, and what some follow besides."""

    style: Style
    why: str = ""
    maybe: str = ""
    doubted: Style = _NO_STYLE
    is_unclear: bool = False


class Styling:
    """All style sheets of one mail, and what its styles add."""

    def __init__(self) -> None:
        self.sheets = Sheets()
        self._memory: dict[tuple[object, ...], tuple[Cascade, str]] = {}
        self._laid = 0

    def read(self, tokens: Sequence[Token]) -> None:
        """Read the style sheets, and what the tags' own styles add."""
        inside = False
        for token in tokens:
            if token.kind == "start":
                self.sheets.see(names_of_tag(token))
        for token in tokens:
            if (token.kind == "raw" and token.name == "style") or (token.kind == "text" and inside):
                self.sheets.read(token.data)
            if token.kind in ("start", "end") and token.name == "style":
                inside = token.kind == "start"
            if token.kind == "start" and may_add(style := token.attributes.get("style", "")):
                self.sheets.added.read(cleaned(decode(style, attribute=True)))

    def added(self, tokens: Sequence[Token]) -> Iterator[tuple[Hidden, str]]:
        """Yield what the styles add to the letter, with the words that stand for it."""
        elements = ({n: decode(v, attribute=True) for n, v in t.attributes.items()} for t in tokens if t.attributes)
        return self.sheets.added.announced(elements)

    def of(self, token: Token, around: frozenset[str] | None = None) -> Styled:
        """Return how this tag is styled; `around` are the ids and classes of what it lies in, None where unknown."""
        attributes = token.attributes
        maybe, why = SOMETIMES_SEEN.get(token.name, ""), ""
        if "open" in attributes or (token.name == "object" and "data" not in attributes):
            maybe = ""
        if not attributes and not self.sheets.rules and token.name not in STYLED_BY_DEFAULT:
            return Styled(_NO_STYLE, "", maybe)
        cascade, possible = self._given(token, around)
        maybe = possible or maybe
        cascade.lay(declared(decode(attributes.get("style", ""), attribute=True), self.sheets.variables))
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
        """Return why an animation may hide an element at some time; empty where the letter has no such animation."""
        words = " ".join(style.get(name, "") for name in _MOVED_BY).replace(",", " ").split()
        return "by an animation" if any(self.sheets.moving.get(word) for word in words) else ""

    def _given(self, token: Token, around: frozenset[str] | None) -> tuple[Cascade, str]:
        """Return what attributes and sheets say of a tag, and why it may be hidden by them."""
        old = old_attributes(token.name, token.attributes)
        if not old and not self.sheets.rules:
            return Cascade(), ""
        name, classes = (decode(token.attributes.get(n, ""), attribute=True).lower() for n in ("id", "class"))
        near = None if around is None else around & self.sheets.needed
        key = (token.name, name, classes, near, *(part for pair in old.items() for part in pair))
        if key not in self._memory:
            rules = self.sheets.matching(token.name, name, classes) if self.sheets.rules else []
            rules = rules if near is None else [rule for rule in rules if rule.needs <= near]
            self._memory[key] = self._lay(old, rules)
        cascade, possible = self._memory[key]
        return cascade.copy(), possible

    def _lay(self, old: Mapping[str, str], rules: Sequence[Rule]) -> tuple[Cascade, str]:
        possible = ""
        given = [Declaration(name, value, important=False, sure=True) for name, value in old.items() if value]
        cascade = Cascade().lay(given)
        for rule in rules:
            cascade.lay(self._counted(rule.declared), certain=rule.certain)
            if not rule.certain and (reason := _hides({one.name: one.value for one in rule.declared})):
                possible = f"{reason} in some windows or mail programs"
        return cascade, possible

    def _counted(self, found: Sequence[Declaration]) -> Sequence[Declaration]:
        self._laid += len(found)
        if self._laid > MAX_MATCHES:
            raise Doubt("its style sheets are too large to follow")
        return found


def _not_followed(names: Collection[str]) -> str:
    """Return the reason why text may be hidden by properties of these names."""
    over = "" if all(map(OF_ITS_OWN.match, map(without_vendor, names))) else OVER
    return f"by a style that is not followed here: {', '.join(sorted(names)[:3])}{over}"


def names_of_tag(token: Token) -> frozenset[str]:
    """Return the id and the classes of a tag as selectors write them."""
    if "id" not in token.attributes and "class" not in token.attributes:
        return NO_NAMES
    return names_of(*(decode(token.attributes.get(name, ""), attribute=True).lower() for name in ("id", "class")))


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
