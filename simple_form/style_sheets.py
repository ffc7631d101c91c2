"""Reads the style sheets of a message as a hint for its looks: only rules for one tag,
class or id are applied, and judged where they apply. Whatever else a sheet does is
noted, because it may change what its recipient sees.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

import tinycss2

from simple_form.colours import READABLE, WHITE, colour_of, contrast
from simple_form.declarations import Declaration, is_harmless, read_declarations
from simple_form.html_reading import BLANKS, Values, ascii_lower

# Limits of one message: characters of all style sheets, declarations that are applied,
# and those of one element.
MAX_SHEETS = 200_000
MAX_DECLARATIONS = 5_000
MAX_OF_ONE = 100
_SELECTOR = re.compile(
    r"(?P<tag>[a-zA-Z][a-zA-Z0-9]*+|\*)?+(?P<name>[.#][a-zA-Z_-][a-zA-Z0-9_-]*+)?+(?P<link>:link)?+"
)
# Selectors that apply only while somebody points at something, or to Word's drawings.
_IDLE = re.compile(
    r"[a-zA-Z0-9.#_ -]*+:(?:hover|active|focus)|[vow]\\:[*a-z]++|\.shape"
)
_VISITED = re.compile(r"(?:a(?:\.\w++)?|span\.\w++):visited", re.ASCII)
# Rules that only paper, and Word's own lists, have, and what makes them change words.
_AT_RULES = {
    "charset": "(?!)",
    "page": "(?!)",
    "viewport": "(?!)",
    "-ms-viewport": "(?!)",
    "list": "(?i)level-text:[^;]*[a-z]{2}",
    "font-face": "(?i)src|local|url|unicode-range",
}


class _Rule(NamedTuple):
    """A declaration of a rule, in the order in which rules win, with the class or id as
    the rule writes it.
    """

    strength: int
    number: int
    name: str
    declaration: Declaration


class StyleSheets:
    """The rules of a message's style sheets. `odd` names what they do besides those
    that are applied and those that change no words.
    """

    def __init__(self, odd: dict[str, None]) -> None:
        self.odd = odd
        # By tag ("" for any), and by class or id with its sign ("" for none).
        self._rules: defaultdict[tuple[str, str], list[_Rule]] = defaultdict(list)
        self._size = 0
        self._applied = 0

    def read(self, text: str) -> None:
        """Read one more style sheet."""
        self._size += len(text)
        try:
            if self._size <= MAX_SHEETS:
                self._read(tinycss2.parse_stylesheet(text, skip_comments=True))
                return
        except RecursionError:
            pass
        self.odd["a style sheet that is too large to read"] = None

    # Reads rules. Those that only some programs follow (not `is_sure`) are not applied.
    def _read(
        self, nodes: Iterable[tinycss2.ast.Node], *, is_sure: bool = True
    ) -> None:
        for node in nodes:
            if node.type == "qualified-rule":
                self._read_rule(node, is_sure)
            elif node.type == "at-rule" and node.lower_at_keyword == "media":
                inner = tinycss2.parse_rule_list(node.content or (), skip_comments=True)
                self._read(inner, is_sure=False)
            elif node.type == "at-rule":
                odd = _AT_RULES.get(node.lower_at_keyword, "")
                if re.search(odd, tinycss2.serialize(node.content or ())):
                    self.odd[f"@{node.lower_at_keyword}"[:60]] = None
            elif node.type != "whitespace":
                self.odd["a style that cannot be read"] = None

    def _read_rule(self, rule: tinycss2.ast.QualifiedRule, is_sure: bool) -> None:
        nodes = tinycss2.parse_blocks_contents(rule.content, skip_comments=True)
        declarations = read_declarations(nodes)
        changing = [
            one
            for one in declarations
            if one.name in ("color", "background-color") or not is_harmless(one)
        ]
        is_readable = all(map(_is_readable, changing))
        for written in tinycss2.serialize(rule.prelude).split(","):
            selector = written.strip(BLANKS)
            match = _SELECTOR.fullmatch(selector)
            if match and selector and is_sure:
                self._apply(match, declarations)
            elif (
                changing
                and not _IDLE.fullmatch(selector)
                and not (is_readable and _VISITED.fullmatch(selector))
            ):
                name, value, _ = changing[0]
                self.odd[f"{selector[:40]} {{{name}: {value[:40]}}}"] = None

    def _apply(
        self, match: re.Match[str], declarations: tuple[Declaration, ...]
    ) -> None:
        name = match["name"] or ""
        tag = ascii_lower(match["tag"] or "").replace("*", "")
        link = match["link"] or ""
        rules = self._rules[tag + link, ascii_lower(name)]
        strength = bool(tag) + 10 * bool(link) + {"": 0, ".": 10, "#": 100}[name[:1]]
        for one in declarations:
            self._applied += 1
            if self._applied > MAX_DECLARATIONS:
                self.odd["very many styles"] = None
                return
            rules.append(_Rule(strength, self._applied, name, one))

    def of(self, tag: str, attributes: Values) -> list[Declaration]:
        """Return the declarations that apply to an element, weakest first."""
        names = {f".{one}" for one in re.split(f"[{BLANKS}]+", attributes["class"])}
        names |= {"", f"#{attributes['id']}"}
        tags = ["", tag]
        if tag == "a" and "href" in attributes:
            tags += (":link", "a:link")
        found: list[_Rule] = []
        for key in product(tags, names):
            for rule in self._rules.get((key[0], ascii_lower(key[1])), ()):
                if len(found) < MAX_OF_ONE and rule.name == key[1]:
                    found.append(rule)
                else:
                    # Some programs compare the letters of such names without case.
                    self.odd[f"styles of {rule.name[:40]}"] = None
        return [rule.declaration for rule in sorted(found)]


def _is_readable(one: Declaration) -> bool:
    """Whether it is a colour that can be read on white."""
    ink = colour_of(one.value) or WHITE
    return one.name == "color" and contrast(ink, WHITE) >= READABLE
