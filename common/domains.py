"""Finds the part of a host name that somebody registered, such as example.co.uk in
mail.example.co.uk, by the Public Suffix List.

Private suffixes count too: each name below github.io has its own owner. The list is a
file of the package publicsuffixlist, so nothing is fetched at run time; a newer list
needs a newer version of the package.
"""

from functools import cache, lru_cache

from publicsuffixlist import PublicSuffixList

# The longest name that DNS can look up.
MAX_HOST = 253
# Top-level domains for documentation and tests (RFC 2606), treated like real ones.
_RESERVED = frozenset({"example", "test"})


def registered_domain(host: str) -> str:
    """Return the part of a lower-case host that somebody registered. A public suffix or
    an IP address is returned unchanged.
    """
    if ":" in host or host.rpartition(".")[2].isdecimal() or len(host) > MAX_HOST:
        return host
    return _registered(host) or host


def has_known_suffix(host: str) -> bool:
    """Whether a lower-case host ends in a suffix of the list, or in a domain for
    documentation and tests.
    """
    return (
        host.rpartition(".")[2] in _RESERVED
        or _list().publicsuffix(host, accept_unknown=False) is not None
    )


@lru_cache(maxsize=4096)
def _registered(host: str) -> str | None:
    return _list().privatesuffix(host)


@cache
def _list() -> PublicSuffixList:
    # Read on first use: most processes never need it.
    return PublicSuffixList()
