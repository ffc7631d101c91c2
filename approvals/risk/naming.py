"""The rule about names that are addresses themselves: what a mail program shows is the name, and the name lies."""

import re
import unicodedata
from collections.abc import Iterator
from itertools import islice

from approvals.risk.addresses import Named, domain_of, is_kin, with_names
from approvals.risk.findings import Finding, finding, one_word, quoted
from approvals.risk.places import at_address
from approvals.risk.rules import Level
from approvals.showing import stripped
from common.fingerprint import Content, normalise_address

MAX_NAMED = 20

_MAIL = re.compile(r"[\w.+%'-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_][\w-]{1,24}")
_DOMAIN = re.compile(
    r"(?<![\w@.-])(?:[a-z0-9](?:[a-z0-9-]{0,62})\.){1,8}(?:[a-z]{2}|com|org|net|info|biz|shop|online|example)\b"
)
_NO_DOMAINS = frozenset({"js", "ts", "py", "md", "rs", "sh", "rb", "cs", "ai"})


def names_that_lie(content: Content) -> Iterator[Finding]:
    """Names that hold a mail address, or a domain, other than the one they stand beside."""
    return islice(filter(None, map(_lie, with_names(content))), MAX_NAMED)


def _lie(named: Named) -> Finding | None:
    name = unicodedata.normalize("NFKC", stripped(named.name))
    if not name or "@" not in named.address:
        return None
    domain = domain_of(named.address)
    if mail := _MAIL.search(name):
        said = normalise_address(mail.group()).lower()
        if said == named.address.lower():
            return None
        return _finding(named, said, "notice" if domain_of(said) == domain else None)
    found = (match.group() for match in _DOMAIN.finditer(name.lower()))
    other = [said for said in found if not is_kin(said, domain) and said.rpartition(".")[2] not in _NO_DOMAINS]
    return _finding(named, other[0], "notice") if other else None


def _finding(named: Named, said: str, level: Level | None) -> Finding:
    return finding(
        "name_says_address",
        f"The {named.whose}'s name shows another address than the real one."
        if named.whose != "Reply-To"
        else "The name in Reply-To shows another address than the real one.",
        f"It reads {quoted(named.name)}; the address is {one_word(named.address)}.",
        (named.address, said),
        level,
        anchor=at_address(named.address),
    )
