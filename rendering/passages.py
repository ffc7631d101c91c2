"""Finds quoted words in a message, however a browser copied them, and quotes them as
Markdown does.

White space and formatting signs do not count.
"""

import re
from collections.abc import Iterable

# How many characters can be quoted at once.
MAX_PASSAGE = 500
# What a copy of the laid-out message has otherwise than its text: white space, the
# signs of emphasis, and the brackets around a mark.
_COUNTED = re.compile(r"[^\s*_`~\\\[\]]+")
_EMPHASIS = "*`~"
_QUOTE = re.compile(r"\A(?:> [^\n]*\n)+\n")


def passage_span(text: str, words: str) -> tuple[int, int] | None:
    """Return where in `text` the words are, its first and the one after its last
    character; None where they are not.
    """
    wanted = "".join(_COUNTED.findall(words))
    first = "".join(_COUNTED.findall(text)).find(wanted) if wanted else -1
    if first < 0:
        return None
    # Where in the text each character that counts stands.
    places = [at for run in _COUNTED.finditer(text) for at in range(*run.span())]
    start = places[first]
    end = places[first + len(wanted) - 1] + 1
    # With the signs of emphasis around it, which would otherwise be open.
    while start and text[start - 1] in _EMPHASIS:
        start -= 1
    while end < len(text) and text[end] in _EMPHASIS:
        end += 1
    return start, end


def passage_in(texts: Iterable[str], words: str) -> str:
    """Return the words as the first of the texts that has them writes them, line by
    line; empty where none has them.
    """
    for text in texts:
        if span := passage_span(text, words):
            lines = (" ".join(line.split()) for line in text[slice(*span)].splitlines())
            return "\n".join(filter(None, lines))
    return ""


def with_passage(passage: str, reason: str) -> str:
    """Return a reason behind the words of the message that it is about."""
    quoted = "\n".join(f"> {line}" for line in passage.splitlines())
    return f"{quoted}\n\n{reason}" if quoted else reason


def without_passage(reason: str) -> str:
    """Return a reason without the words of the message, for whoever does not get its
    text.
    """
    return _QUOTE.sub("", reason)
