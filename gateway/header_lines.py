"""Writes the headers of a message so that every reader gets them as they were given,
with text beyond ASCII in encoded words of at most 75 characters (RFC 2047).

Python's library loses blanks between encoded words, each version at other places, and
writes longer words.
"""

from base64 import b64encode
from email.headerregistry import Address
from email.policy import EmailPolicy
from typing import Any

from common.mail_addresses import quoted

# Bytes of text that fit into an encoded word of 75 characters.
_MOST_BYTES = (75 - len("=?utf-8?b??=")) // 4 * 3
# A word without a blank; a line has at most 998 characters.
_LONGEST_WORD = 900


class HeaderLines(EmailPolicy):
    """The library's policy, for the headers of a part. It would encode long ids and links
    in other headers.
    """

    def fold(self, name: str, value: Any) -> str:
        """Return a header with its line ends."""
        if (people := getattr(value, "addresses", None)) is not None:
            written = []
            for one in people:
                shown, _, _ = str(one).rpartition(" <")
                if not _is_plain(one.display_name):
                    shown = _readable(one.display_name)
                address = quoted(one.addr_spec)
                written.append(f"{shown} <{address}>" if shown else address)
            return self._lines(name, ", ".join(written))
        if name.lower().startswith("content-"):
            return str(super().fold(name, value))
        return self._lines(name, _readable(str(value)))

    def fold_binary(self, name: str, value: Any) -> bytes:
        """Return a header with its line ends, as bytes. Only an address may be beyond
        ASCII.
        """
        return self.fold(name, value).encode()

    def _lines(self, name: str, text: str) -> str:
        lines = [f"{name}:"]
        for word in text.split(" "):
            is_full = len(lines[-1]) + len(word) >= (self.max_line_length or 0)
            if is_full and lines != [f"{name}:"]:
                lines.append("")
            lines[-1] += f" {word}"
        return "".join(f"{line}{self.linesep}" for line in lines)


# 7bit, because not every server takes anything else. Long lines, because a folded or
# encoded message id would break threads.
POLICY = HeaderLines(cte_type="7bit", max_line_length=200, linesep="\r\n")


def header_address(address: str) -> Address:
    """Return a clean address for a header. The library reads only ASCII from text."""
    local, _, domain = address.rpartition("@")
    return Address(username=local, domain=domain)


def _is_plain(text: str) -> bool:
    """Whether readers get a text as it is, also where a line is folded."""
    return (
        text.isascii()
        and text.isprintable()
        and "=?" not in text
        and text == " ".join(text.split())
        and max(map(len, text.split()), default=0) <= _LONGEST_WORD
    )


def _readable(text: str) -> str:
    """Return a text as encoded words if it needs them, without a character in two of
    them. Readers drop the blanks between.
    """
    if _is_plain(text):
        return text
    words = [b""]
    for character in text:
        encoded = character.encode()
        if len(words[-1]) + len(encoded) > _MOST_BYTES:
            words.append(b"")
        words[-1] += encoded
    return " ".join(f"=?utf-8?b?{b64encode(one).decode()}?=" for one in words)
