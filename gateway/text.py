"""Text that strangers wrote, made safe for a header of our own."""

import re

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")


def check_header_text(text: str) -> str:
    """Return `text`. Raises ValueError with a sentence for what must not stand in a
    header.
    """
    if _CONTROL.search(text):
        raise ValueError("must be a single line without control characters.")
    if _has_encoded_word(text):
        raise ValueError(
            "must be plain text, not encoded words such as =?utf-8?q?...?=."
        )
    return text


def one_plain_line(text: str) -> str:
    """Return `text`, which a stranger wrote, changed as little as it takes to stand in
    a header of ours.
    """
    line = " ".join(_CONTROL.sub(" ", text).split())
    return line.replace("=?", "= ?") if _has_encoded_word(line) else line


def _has_encoded_word(text: str) -> bool:
    """Whether mail programs might decode a part of it, so that the recipient reads
    another text than the reviewer.

    That is =?utf-8?q?...?= or anything of that shape. One pass: a pattern would try
    every way to split a hostile text.
    """
    _, _, word = text.partition("=?")
    encoded = word.partition("?")[2].partition("?")[2]
    return "?=" in encoded
