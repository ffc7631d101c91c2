"""Reads the style sheets of a message as a hint for its looks: only rules for one tag,
class or id are applied, and judged where they apply. Whatever else a sheet does is
noted, because it may change what its recipient sees.
"""

import re
from collections.abc import Iterable
from itertools import product

import tinycss2

from simple_form.colours import READABLE, WHITE, colour_of, contrast
from simple_form.declarations import Declaration, declarations_of, is_usual
from simple_form.html_reading import BLANKS, Token, ascii_lower

# Limits of one message: characters of all style sheets, declarations that are applied,
# and those of one element.
MAX_SHEETS = 200_000
MAX_DECLARATIONS = 5_000
MAX_OF_ONE = 100
# Characters of a rule that are quoted.
MOST_SHOWN = 90
_SELECTOR = re.compile(
    r"(?P<tag>[a-zA-Z][a-zA-Z0-9]*+|\*)?+(?P<name>[.#][a-zA-Z_-][a-zA-Z0-9_-]*+)?+(?P<link>:link)?+"
)
# Rules about paper and windows.
_OF_PAGES = frozenset("charset page viewport -ms-viewport".split())
# What a rule that only names a font does not have.
_OF_FONTS = ("src", "local", "url", "unicode-range")
# States in which only somebody who points at something sees it.
_STATES = frozenset("hover active focus".split())
# An address of another host, with or without its scheme.
ADDRESS = re.compile(r"(?i)(?:https?:)?//[^\s\"'<>,\\]+")
_Rule = tuple[tuple[int, ...], str, Declaration]


def addresses_in(css: str) -> list[str]:
    """Return the addresses in CSS from which programs may load something: pictures,
    fonts, other sheets.
    """
    if "//" not in css and "\\" not in css:
        return []
    found = []
    left = list(tinycss2.parse_component_value_list(css, skip_comments=True))
    while left:
        node = left.pop()
        if node.type in ("url", "string"):
            found += ADDRESS.findall(node.value)
        left += getattr(node, "content", None) or getattr(node, "arguments", None) or ()
    return found


def _is_usual_rule(rule: tinycss2.ast.AtRule) -> bool:
    """Whether only paper, or Word's own lists, have a rule, or it only names a font."""
    name = rule.lower_at_keyword
    text = ascii_lower(rule.serialize())
    if name == "font-face":
        return not any(one in text for one in _OF_FONTS)
    if name == "list":
        return re.search("level-text:[^;]*[a-z]{2}", text) is None
    return name in _OF_PAGES


def _is_quiet(selector: str, changing: str) -> bool:
    """Whether a rule applies only while somebody points at something, to Word's
    drawings, or gives links that were visited a colour that can be read.
    """
    element, _, state = selector.rpartition(":")
    if state == "visited" and element.partition(".")[0] in ("a", "span"):
        colour = colour_of(changing.removeprefix("color: "), WHITE)
        return colour is not None and contrast(colour, WHITE) >= READABLE
    drawing = element in ("v\\", "o\\", "w\\") or selector == ".shape"
    return state in _STATES or drawing


class StyleSheets:
    """The rules of a message's style sheets. What they do besides those that are applied
    and those that change no words becomes a key of `odd`.
    """

    def __init__(self, odd: dict[str, None]) -> None:
        self._odd = odd
        # By tag ("" for any), and by class or id with its sign ("" for none): how strong
        # a rule is, the class or id as it is written, and what it declares.
        self._rules: dict[tuple[str, str], list[_Rule]] = {}
        self._size = self._applied = 0

    def read(self, text: str) -> None:
        """Read one more style sheet."""
        self._size += len(text)
        if self._size > MAX_SHEETS:
            self._odd["a style sheet that is too large to read"] = None
        else:
            self._read(tinycss2.parse_stylesheet(text, skip_comments=True))

    # Reads rules. Those that only some programs follow (not `is_sure`) are not applied.
    def _read(self, nodes: Iterable[tinycss2.ast.Node], is_sure: bool = True) -> None:
        for node in nodes:
            if node.type == "qualified-rule":
                self._read_rule(node, is_sure)
            elif node.type == "error":
                self._odd["a style that cannot be read"] = None
            elif node.type == "at-rule" and node.lower_at_keyword == "media":
                self._read(
                    tinycss2.parse_rule_list(node.content or (), skip_comments=True),
                    is_sure=False,
                )
            elif node.type == "at-rule" and not _is_usual_rule(node):
                self._odd[f"@{node.lower_at_keyword}"[:60]] = None

    def _read_rule(self, rule: tinycss2.ast.QualifiedRule, is_sure: bool) -> None:
        declarations = declarations_of(rule.content)
        changing = "; ".join(
            f"{one.name}: {one.value}"
            for one in declarations
            if one.name in ("color", "background-color") or not is_usual(one)
        )
        for written in tinycss2.serialize(rule.prelude).split(","):
            selector = written.strip(BLANKS)
            match = _SELECTOR.fullmatch(selector)
            if match and selector and is_sure:
                tag, name, link = match.groups("")
                tag = ascii_lower(tag).replace("*", "")
                classes = (name[:1] == ".") + bool(link)
                rules = self._rules.setdefault((tag + link, ascii_lower(name)), [])
                for one in declarations:
                    self._applied += 1
                    if self._applied > MAX_DECLARATIONS:
                        self._odd["very many styles"] = None
                        return
                    strength = (name[:1] == "#", classes, tag != "", self._applied)
                    rules.append((strength, name, one))
                continue
            if changing and not _is_quiet(selector, changing):
                how = f"{selector} {{{changing[:MOST_SHOWN]}}}"
                self._odd[how[:MOST_SHOWN]] = None

    def of(self, element: Token) -> list[Declaration]:
        """Return the declarations that apply to an element, weakest first."""
        attributes = element.attributes
        tags = ["", element.name]
        if element.name == "body":
            tags.append("html")
        if element.name == "a" and "href" in attributes:
            tags += [":link", "a:link"]
        names = ["", f"#{attributes['id']}"]
        names += [f".{one}" for one in re.split(f"[{BLANKS}]+", attributes["class"])]
        found: list[_Rule] = []
        for tag, name in product(tags, names):
            for rule in self._rules.get((tag, ascii_lower(name)), ()):
                if len(found) < MAX_OF_ONE and rule[1] == name:
                    found.append(rule)
                else:
                    # Some programs compare the letters of such names without case.
                    self._odd[f"styles of {name[:40]}"] = None
        return [declaration for *_, declaration in sorted(found)]
