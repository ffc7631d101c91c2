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
    Oddity(
        "text_says_other_domain",
        "high",
        "shows a different address from the one it opens",
    ),
    Oddity(
        "credentials_in_url",
        "high",
        "has a name before the @ that is not its destination",
    ),
    Oddity(
        "disguised_dot",
        "high",
        "has a look-alike character instead of a dot in its address",
    ),
    Oddity("mixed_script", "high", "mixes letters of different scripts"),
    Oddity(
        "passes_for_latin", "high", "is written in letters that look like Latin ones"
    ),
    Oddity("hidden_recipient", "high", "writes to somebody whom its words do not name"),
    Oddity("unusual_scheme", "notice", "does not open a web page"),
    Oddity("ip_address", "notice", "goes to an IP address instead of a name"),
    Oddity("punycode", "notice", "has non-Latin letters in its name"),
    Oddity("unusual_port", "notice", "goes to an unusual port"),
    Oddity("not_https", "", "is not encrypted"),
]


def oddities_of(link: Link) -> list[Oddity]:
    """Return what is odd about a link, the worst first."""
    flags = set(link.flags)
    is_foreign = "punycode" in flags and "mixed_script" not in flags
    if is_foreign and passes_for_latin(link.host):
        # Letters that look like Latin ones are worse than other non-Latin letters.
        flags = flags - {"punycode"} | {"passes_for_latin"}
    return [one for one in _ODDITIES if one.flag in flags]
