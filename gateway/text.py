"""Checks or cleans text that strangers wrote, before it goes into a header of a
mail.
"""

import re

# All control characters but the tab, and Unicode's line separators.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")


def check_header_text(text: str) -> str:
    """Return `text` unchanged. Raises ValueError with a sentence if it must not go into
    a header.
    """
    if _CONTROL.search(text):
        raise ValueError("must be a single line without control characters.")
    if _has_encoded_word(text):
        raise ValueError(
            "must be plain text, not encoded words such as =?utf-8?q?...?=."
        )
    return text


def one_plain_line(text: str) -> str:
    """Return `text` as one line that may go into a header, changed as little as
    possible.
    """
    line = " ".join(_CONTROL.sub(" ", text).split())
    return line.replace("=?", "= ?") if _has_encoded_word(line) else line


def _has_encoded_word(text: str) -> bool:
    """Whether mail programs might decode a part of `text`, such as =?utf-8?q?...?= or
    anything like it. The recipient would then read another text than the reviewer.

    Not a regular expression: it would try every way to split a hostile text.
    """
    _, _, word = text.partition("=?")
    encoded = word.partition("?")[2].partition("?")[2]
    return "?=" in encoded
