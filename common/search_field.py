"""Parses what people type into a search field: tokens such as `to:dana`, and the words
that are left. Pure.

The search fields of the queue and of the ledger use it, each with its own tokens.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

# In characters. What is typed beyond them is not searched, and the page says so.
MAX_TYPED = 300

_TOKEN = re.compile(r'([^\W\d_]{2,20}):(?!//)("[^"]*"?|\S*)|("[^"]*"?)|(\S+)')
# Words that people write before a colon without meaning a token.
_ORDINARY = frozenset("re fw fwd aw wg sv http https mailto tel ps nb".split())


@dataclass(frozen=True)
class Grammar:
    """The tokens of one search field. If a token is typed several times, all its values
    are searched for if it is in `gathered`; otherwise the last value counts.
    """

    tokens: Collection[str]
    gathered: Collection[str]
    # A sentence for people that lists the tokens.
    known: str


@dataclass
class Typed:
    """What a search field contained: values by token, the words that are left, and
    remarks for the page, as sentences.
    """

    values: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def read_typed(typed: str, grammar: Grammar) -> Typed:
    """Parse what was typed. A token without a value takes the next word as its value,
    because people write `to: dana`.
    """
    result = Typed()
    if len(typed) > MAX_TYPED:
        result.remarks.append(f"Only the first {MAX_TYPED} characters were searched.")
    pieces = _TOKEN.finditer(typed[:MAX_TYPED])
    for piece in pieces:
        token = (piece[1] or "").lower()
        value = piece[2] or ""
        if not token or token in _ORDINARY:
            result.words.append(piece[0])
        elif token not in grammar.tokens:
            result.words.append(piece[0])
            if value:
                result.remarks.append(
                    f"“{token}:” is not a filter, so it was searched as words. {grammar.known}"
                )
        else:
            value = value or next((following[0] for following in pieces), "")
            value = value.strip('"')
            # Two recipients are both searched for. Of what can only be one thing, such
            # as a status, the last one typed counts.
            before = result.values.get(token, "") if token in grammar.gathered else ""
            result.values[token] = f"{before} {value}".strip()
    return result


def as_asked(value: object, most: int = 200) -> str:
    """Return a value from the URL's query as text that PostgreSQL accepts: without
    U+0000 and halves of surrogate pairs, and of at most `most` characters.
    """
    return (
        str(value or "")
        .replace("\0", " ")
        .encode("utf-8", "replace")
        .decode()
        .strip()[:most]
    )
