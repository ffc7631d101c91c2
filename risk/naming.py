"""The rule about names that are addresses themselves: what a mail program shows is the name, and the name lies."""

from collections.abc import Iterator
from itertools import islice

from common.fingerprint import Content, normalise_address
from rendering.named_hosts import hosts_named, readable
from risk.addresses import Named, domain_of, is_kin, with_names
from risk.findings import Finding, finding, one_word, quoted
from risk.places import at_address
from risk.rules import Level

MAX_NAMED = 20

# Names of products rather than of domains.
_NO_DOMAINS = frozenset({"cs", "ai"})


def names_that_lie(content: Content) -> Iterator[Finding]:
    """Names that hold a mail address, or a domain, other than the one they stand beside."""
    return islice(filter(None, map(_lie, with_names(content))), MAX_NAMED)


def _lie(named: Named) -> Finding | None:
    if "@" not in named.address:
        return None
    domain = domain_of(named.address)
    hosts = hosts_named(readable(named.name))
    if mail := next((one.said for one in hosts if one.local), ""):
        said = normalise_address(mail).lower()
        if said == named.address.lower():
            return None
        return _finding(named, said, "notice" if domain_of(said) == domain else None)
    found = (one.host for one in hosts if not is_kin(one.host, domain))
    other = next((host for host in found if host.rpartition(".")[2] not in _NO_DOMAINS), "")
    return _finding(named, other, "notice") if other else None


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
