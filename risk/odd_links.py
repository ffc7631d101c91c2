"""What is odd about a link: the flags that the renderer sets, how serious each is, and its
words, the same in a finding and in a list of links.
"""

from typing import NamedTuple

from rendering import Link
from risk.lookalikes import passes_for_latin


class Oddity(NamedTuple):
    """One thing that is odd about a link; `level` is empty if it makes no finding."""

    flag: str
    level: str
    words: str


# The worst first.
_ODDITIES = [
    Oddity(*row)
    for row in (
        (
            "text_says_other_domain",
            "high",
            "shows a different address from the one it opens",
        ),
        (
            "credentials_in_url",
            "high",
            "has a name before the @ that is not its destination",
        ),
        (
            "disguised_dot",
            "high",
            "has a look-alike character instead of a dot in its address",
        ),
        ("mixed_script", "high", "mixes letters of different scripts"),
        ("passes_for_latin", "high", "is written in letters that look like Latin ones"),
        ("hidden_recipient", "high", "writes to somebody whom its words do not name"),
        ("unusual_scheme", "notice", "does not open a web page"),
        ("ip_address", "notice", "goes to an IP address instead of a name"),
        ("punycode", "notice", "has non-Latin letters in its name"),
        ("unusual_port", "notice", "goes to an unusual port"),
        ("not_https", "", "is not encrypted"),
    )
]


def oddities_of(link: Link) -> list[Oddity]:
    """Return what is odd about a link, the worst first."""
    flags = set(link.flags)
    is_foreign = "punycode" in flags and "mixed_script" not in flags
    if is_foreign and passes_for_latin(link.host):
        # Letters that look like Latin ones are worse than other non-Latin letters.
        flags = flags - {"punycode"} | {"passes_for_latin"}
    return [one for one in _ODDITIES if one.flag in flags]
