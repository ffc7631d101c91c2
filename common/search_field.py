"""What people type into a search field, taken apart: tokens such as `to:dana`, and the
words that are left. Pure.

The queue and the ledger read their fields with it, each with tokens of its own.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

# What is typed further on is not searched, and the page says so.
MAX_TYPED = 300

_TOKEN = re.compile(r'([^\W\d_]{2,20}):(?!//)("[^"]*"?|\S*)|("[^"]*"?)|(\S+)')
# Such a word before a colon is ordinary writing.
_ORDINARY = frozenset("re fw fwd aw wg sv http https mailto tel ps nb".split())


@dataclass(frozen=True)
class Grammar:
    """The tokens of one field; of those in `gathered` several are asked for together,
    of others the last counts.
    """

    tokens: Collection[str]
    gathered: Collection[str]
    # A sentence that names them.
    known: str


@dataclass
class Typed:
    """What a search field held, taken apart: values by token, the words that are left,
    and remarks.
    """

    values: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def read_typed(typed: str, grammar: Grammar) -> Typed:
    """Take what was typed apart. A token without a value takes the next word: people
    write `to: dana`.
    """
    found = Typed()
    if len(typed) > MAX_TYPED:
        found.remarks.append(f"Only the first {MAX_TYPED} characters were searched.")
    pieces = _TOKEN.finditer(typed[:MAX_TYPED])
    for piece in pieces:
        token = (piece[1] or "").lower()
        value = piece[2] or ""
        if not token or token in _ORDINARY:
            found.words.append(piece[0])
        elif token not in grammar.tokens:
            found.words.append(piece[0])
            if value:
                found.remarks.append(
                    f"“{token}:” is not a filter, so it was searched as words. {grammar.known}"
                )
        else:
            value = value or next((following[0] for following in pieces), "")
            value = value.strip('"')
            # Two recipients are both asked for; of what can only be one thing, the
            # last counts.
            before = found.values.get(token, "") if token in grammar.gathered else ""
            found.values[token] = f"{before} {value}".strip()
    return found


def as_asked(value: object, most: int = 200) -> str:
    """Return what an address asks for, such that PostgreSQL can be asked: without
    U+0000 and halves of characters.
    """
    return (
        str(value or "")
        .replace("\0", " ")
        .encode("utf-8", "replace")
        .decode()
        .strip()[:most]
    )
