"""Finds what styles add to a letter that stands nowhere in its text: words, numbers, pictures, letters of their own.

The desk draws none of it, so it is announced.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from rendering.css import named_values
from rendering.shown import Hidden

MAX_TEXTS = 200

_ADDING = frozenset(
    "content list-style list-style-type quotes text-overflow symbols additive-symbols prefix suffix".split()
)
_COUNTING = frozenset("counter-reset counter-set counter-increment".split())
_WORTH_READING = re.compile("content|list-style|quotes|text-overflow|symbols|fix|counter-|--", re.IGNORECASE)
_STRING = re.compile(r"""["']([^"'\n]{1,2000})["']""")
_ATTRIBUTE = re.compile(r"\battr\(\s{0,20}([a-z][\w-]{0,60})", re.IGNORECASE)
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
                self.attributes |= dict.fromkeys(_ATTRIBUTE.findall(value.lower()))
                self.is_counted = self.is_counted or bool(_COUNTER.search(value))
            elif name in _COUNTING and value.lower() != "none":
                self.counts[" ".join(value.split())[:200]] = None

    def _words(self, value: str, texts: dict[str, None]) -> None:
        said = "".join(_STRING.findall(value)).strip()
        if said and len(texts) < MAX_TEXTS:
            texts[said] = None

    def announced(self, elements: Iterable[Mapping[str, str]]) -> Iterator[tuple[Hidden, str]]:
        """Yield what is added, with the words that stand for it in the letter. `elements` are all tags' attributes."""
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
                Hidden("", "a font that the message brings along", certain=False),
                "the message brings a font along, which may draw other letters than these",
            )
