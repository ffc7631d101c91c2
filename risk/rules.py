"""The published rules for findings: name, level, and what each looks for in words.
Pages show them, and docs/findings.md has the same list.

A rule's name never changes. Its version is raised with every change after which an old
message could get another finding, because findings are stored with the revisions that
they are about.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from common.tables import table_rows

Level = Literal["high", "notice"]


@dataclass(frozen=True)
class Rule:
    """A published rule. `words` is its short name on lists, `about` says what a finding
    means, and `looks_for` how it is found.

    `level` is that of its worst finding; a check can make a milder finding, but none
    that is worse.
    """

    name: str
    version: int
    level: Level
    words: str
    about: str
    looks_for: str


_TABLE = Path(__file__).with_name("rules.txt").read_text("utf-8")
RULES = {
    name: Rule(
        name,
        int(version),
        "high" if level == "high" else "notice",
        words,
        about,
        looks_for,
    )
    for name, version, level, words, about, looks_for in table_rows(_TABLE)
}


def rules_in_words(names: Iterable[str], most: int) -> str:
    """Return the short names of the first rules of these names: "look-alike, secret"."""
    published = (RULES[name].words for name in names if name in RULES)
    return ", ".join(islice(published, most))
