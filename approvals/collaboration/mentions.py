"""Finds whom a text mentions, by @name or @address. Pure: no models."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

# In the middle of a word it is an address or a handle of elsewhere.
_AT = re.compile(r"(?<![\w.@+-])@(?=\w)")
_WORD = re.compile(r"[\w.+-]+(?:@[\w.-]+)?")


@dataclass(frozen=True)
class Known:
    """Somebody who can be mentioned."""

    id: int
    name: str
    email: str

    def __str__(self) -> str:
        return self.name or self.email


@dataclass(frozen=True)
class Mentions:
    """Who is meant, in the order of the text, and what named nobody, or more than one."""

    people: tuple[Known, ...]
    remarks: tuple[str, ...]


def mentions_in(text: str, people: Sequence[Known]) -> Mentions:
    """Return whom a text mentions. The longest name that fits counts: "@Ana Ferreira" is not "@Ana"."""
    spellings = _spellings(people)
    found: dict[int, Known] = {}
    remarks: list[str] = []
    folded = _folded(text)
    for at in _AT.finditer(folded):
        meant = _longest(folded[at.end() :], spellings)
        typed = _WORD.match(folded[at.end() :])
        word = typed[0].rstrip(".") if typed else ""
        if len(meant) == 1:
            found.setdefault(meant[0].id, meant[0])
        elif meant:
            remarks.append(f"“@{word}” could be {' or '.join(map(str, meant))}: write the whole name or the address.")
        elif word:
            remarks.append(f"“@{word[:60]}” names nobody who sees this message.")
    return Mentions(tuple(found.values()), tuple(dict.fromkeys(remarks)))


def _folded(text: str) -> str:
    # Never longer nor shorter in a way that matters: only what is found is used, not where.
    return unicodedata.normalize("NFKC", text).casefold()


def _spellings(people: Iterable[Known]) -> dict[str, list[Known]]:
    """Return what each person may be called: the whole name, a first name, the address, what stands before its @."""
    found: dict[str, list[Known]] = {}
    for one in people:
        first = one.name.split()[:1]
        for spelling in {_folded(word) for word in (one.name, one.email, one.email.partition("@")[0], *first)}:
            if spelling:
                found.setdefault(spelling, []).append(one)
    return found


def _longest(rest: str, spellings: Mapping[str, list[Known]]) -> list[Known]:
    fitting = [one for one in spellings if rest.startswith(one) and not re.match(r"[\w@]", rest[len(one) :])]
    return spellings[max(fitting, key=len)] if fitting else []
