"""Checks or cleans text before it goes into a header of a mail: text that a caller of
the API gives is checked, and text of received mail is cleaned.
"""

# The control characters of ASCII except the tab, and all that parts lines in Unicode.
_CONTROL = {*map(chr, range(0x20)), *"\x7f\x85\u2028\u2029"} - {"\t"}
_AS_BLANKS = dict.fromkeys(map(ord, _CONTROL), " ")


def check_header_text(text: str) -> str:
    """Return `text` unchanged. Raises ValueError if it must not go into a header; its
    message follows the name of a field.
    """
    if not _CONTROL.isdisjoint(text):
        raise ValueError("must be a single line without control characters.")
    if _has_encoded_word(text):
        raise ValueError(
            "must be plain text, not encoded words such as =?utf-8?q?...?=."
        )
    return text


def one_plain_line(text: str) -> str:
    """Return `text` as one line that may go into a header: each run of blanks becomes a
    single blank.
    """
    line = " ".join(text.translate(_AS_BLANKS).split())
    return line.replace("=?", "= ?") if _has_encoded_word(line) else line


def _has_encoded_word(text: str) -> bool:
    """Whether mail programs might decode a part of `text`, such as =?utf-8?q?...?=. The
    recipient would then read a different text from the one that the reviewer read.

    The test is broader than RFC 2047, because mail programs are.
    """
    _, _, word = text.partition("=?")
    return "?=" in word.partition("?")[2].partition("?")[2]
