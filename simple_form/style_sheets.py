"""Reads the style sheets of a message as a hint for its looks: only rules for one tag,
class or id are applied. Whatever else a sheet does is noted, because it may change what
its recipient sees.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import tinycss2

from simple_form.colours import BLACK, READABLE, WHITE, colour_of, contrast
from simple_form.declarations import (
    Declaration,
    is_harmless,
    is_judged_inside,
    read_declarations,
)
from simple_form.html_reading import ascii_lower

# Limits of one message: characters of all style sheets, declarations that are applied,
# those of one tag, class or id, and brackets in each other.
MAX_SHEETS = 200_000
MAX_DECLARATIONS = 5_000
MAX_OF_ONE = 100
MAX_DEPTH = 30
_SELECTOR = re.compile(
    r"(?P<tag>[a-z][a-z0-9]*+|\*)?+(?P<name>[.#][a-z_-][a-z0-9_-]*+)?+(?P<link>:link)?+",
    re.IGNORECASE,
)
# Selectors that apply only while somebody points at something, or to Word's drawings.
_IDLE = re.compile(
    r"[a-z0-9.#_ -]*+:(?:hover|active|focus)|[vow]\\:[*a-z]++|\.shape", re.IGNORECASE
)
_VISITED = re.compile(r"(?:a(?:\.\w++)?|span\.\w++):visited", re.IGNORECASE | re.ASCII)
# Rules that only paper, or Word's own lists and pages, have.
_NO_EFFECT = frozenset(("charset", "page", "list", "viewport", "-ms-viewport"))
_FONT_FILES = re.compile(r"src|local|url|unicode-range", re.IGNORECASE)
_NEVER_SHOWN = frozenset("head title style script template meta link base *".split())
_BLANKS = " \t\n\r\f"


class _Rule(NamedTuple):
    """A declaration of a rule, in the order in which rules win, with the class or id as
    the rule writes it.
    """

    weight: tuple[int, int]
    declaration: Declaration
    name: str


class StyleSheets:
    """The rules of a message's style sheets. `odd` names what they do besides those
    that are applied and those that change no words.
    """

    def __init__(self) -> None:
        self.odd: list[str] = []
        # By tag ("" for any) and by class or id with its sign ("" for none).
        self._rules: defaultdict[tuple[str, str], list[_Rule]] = defaultdict(list)
        self._size = 0
        self._applied = 0
        self.of = lru_cache(maxsize=4096)(self._of)

    def read(self, text: str) -> None:
        """Read one more style sheet."""
        self._size += len(text)
        if self._size > MAX_SHEETS or _depth(text) > MAX_DEPTH:
            self.odd.append("a style sheet that is too large to read")
            return
        self._read(tinycss2.parse_stylesheet(text, skip_comments=True), is_sure=True)

    def _read(self, nodes: Iterable[tinycss2.ast.Node], *, is_sure: bool) -> None:
        for node in nodes:
            if node.type == "whitespace":
                continue
            if node.type == "qualified-rule":
                self._read_rule(node, is_sure)
            elif node.type == "at-rule" and node.lower_at_keyword == "media":
                inner = tinycss2.parse_rule_list(node.content or (), skip_comments=True)
                self._read(inner, is_sure=False)
            elif node.type != "at-rule":
                self.odd.append("a style that cannot be read")
            elif node.lower_at_keyword == "font-face":
                if _FONT_FILES.search(tinycss2.serialize(node.content or ())):
                    self.odd.append("a font of its own")
            elif node.lower_at_keyword not in _NO_EFFECT:
                self.odd.append(f"@{node.lower_at_keyword}"[:60])

    # Reads a rule. One that only some programs follow (not `is_sure`) is not applied.
    def _read_rule(self, rule: tinycss2.ast.QualifiedRule, is_sure: bool) -> None:
        nodes = tinycss2.parse_blocks_contents(rule.content, skip_comments=True)
        declarations = read_declarations(nodes)
        has_colours = any(
            "color" in one.name or "background" in one.name for one in declarations
        )
        for written in tinycss2.serialize(rule.prelude).split(","):
            selector = written.strip(_BLANKS)
            if _IDLE.fullmatch(selector):
                continue
            match = _SELECTOR.fullmatch(selector)
            tag = ascii_lower((match and match["tag"]) or "")
            is_read = (
                is_sure and match and selector and (tag == "a" or not match["link"])
            )
            if match and is_read:
                self._apply(tag, match, declarations)
            elif has_colours and not (
                _VISITED.fullmatch(selector) and _is_readable(declarations)
            ):
                self.odd.append(f"colours of {selector[:40]}")
            for one in declarations:
                is_shown = tag in _NEVER_SHOWN and one.name == "display"
                is_judged = is_read and is_judged_inside(one)
                if is_shown or not (is_judged or is_harmless(one, tag)):
                    self.odd.append(f"{selector[:40]} {{{one.name}: {one.value[:40]}}}")
                    break

    def _apply(
        self, tag: str, match: re.Match[str], declarations: tuple[Declaration, ...]
    ) -> None:
        name = match["name"] or ""
        key = (tag.replace("*", "") + (match["link"] or ""), ascii_lower(name))
        strength = {"": 0, ".": 10, "#": 100}[name[:1]] + bool(key[0])
        self._applied += len(declarations)
        if (
            self._applied > MAX_DECLARATIONS
            or len(self._rules[key]) + len(declarations) > MAX_OF_ONE
        ):
            self.odd.append("very many styles")
            return
        weight = (strength, self._applied)
        self._rules[key] += [_Rule(weight, one, name) for one in declarations]

    # Returns the declarations for an element, weakest first.
    def _of(self, tag: str, classes: str, id: str) -> tuple[Declaration, ...]:
        names = {f".{one}" for one in re.split(f"[{_BLANKS}]+", classes) if one}
        names |= {f"#{id}"} if id else set()
        tags = ("", tag, "a") if tag == "a:link" else ("", tag)
        found = []
        for one in tags:
            found += self._rules.get((one, ""), ())
            for name in names:
                rules = self._rules.get((one, ascii_lower(name)), ())
                found += [rule for rule in rules if rule.name == name]
                if len(found) > MAX_OF_ONE or any(rule.name != name for rule in rules):
                    # Some programs compare the letters of such names without case.
                    self.odd.append(f"styles of {name[:40]}")
        return tuple(rule.declaration for rule in sorted(found)[-MAX_OF_ONE:])


def _is_readable(declarations: tuple[Declaration, ...]) -> bool:
    """Whether the colours of a rule can be read on each other, or on white."""
    inks = [colour_of(one.value) for one in declarations if one.name == "color"]
    backs = [colour_of(one.value) for one in declarations if "background" in one.name]
    return all(
        contrast(ink or BLACK, back or WHITE) >= READABLE
        for ink in inks or [None]
        for back in backs or [None]
    )


def _depth(text: str) -> int:
    """Return how many brackets of a style sheet lie in each other."""
    depth = most = 0
    for bracket in re.findall(r"[{}()\[\]]", text):
        depth += 1 if bracket in "{([" else -1
        most = max(most, depth)
    return most
