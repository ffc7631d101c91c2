"""Which part of a host somebody registered, by the Public Suffix List.

Private suffixes count: what lies below github.io belongs to whoever took it there. The
list is a file of the package, so nothing is fetched at run time; a newer list is a
newer version of the package.
"""

from functools import cache, lru_cache

from publicsuffixlist import PublicSuffixList

# The longest name that DNS can look up.
MAX_HOST = 253
# Reserved for documentation and tests (RFC 2606), where they stand for real ones.
_RESERVED = frozenset({"example", "test"})


def registered_domain(host: str) -> str:
    """Return the part of a lower-case host that somebody registered; a public suffix or
    an IP address as it is.
    """
    if ":" in host or host.rpartition(".")[2].isdecimal() or len(host) > MAX_HOST:
        return host
    return _registered(host) or host


def has_known_suffix(host: str) -> bool:
    """Whether a lower-case host ends in a suffix of the list, or in one reserved for
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
