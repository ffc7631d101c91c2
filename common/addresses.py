"""Finds out which network address a request came from, and how. Forwarding headers
count only if a proxy in TRUSTED_PROXIES sent them.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """Return the network address of the client that made the request."""
    return address_in(request.META)


def address_in(environ: Mapping[str, Any]) -> str:
    """Return the client's network address, from a WSGI environment."""
    address = str(environ.get("REMOTE_ADDR", ""))
    forwarded = str(environ.get("HTTP_X_FORWARDED_FOR", ""))
    # Each proxy adds the address that it saw at the end. Those before the first one
    # that we do not trust came from the client, which may have invented them.
    for hop in map(str.strip, reversed(forwarded.split(","))):
        if not hop or not is_within(address, settings.TRUSTED_PROXIES):
            break
        # Some proxies write 203.0.113.9:51234 or [2001:db8::1]:443.
        if hop.startswith("["):
            hop = hop[1:].partition("]")[0]
        address = _canonical(hop.partition(":")[0] if hop.count(":") == 1 else hop)
    return address


def is_within(address: str, networks: Sequence[str]) -> bool:
    """Whether an address is one of these, or in one of these networks."""
    try:
        ip = ip_address(_canonical(address))
    except ValueError:
        return False
    return any(ip in network for network in _networks(tuple(networks)))


@cache
def _networks(named: tuple[str, ...]) -> list[IPv4Network | IPv6Network]:
    return [ip_network(_canonical(one), strict=False) for one in named]


def _canonical(address: str) -> str:
    """Return the usual form of an IP address: IPv6 in lower case and short, and IPv4
    that is written as IPv6 as IPv4. Other text is returned as it is.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return address
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def network_of(address: str) -> str:
    """Return what rate limits count as one client: the address, or for IPv6 its /64
    network, because one host may use all of that.
    """
    address = _canonical(address)
    if ":" not in address:
        return address
    return str(ip_network(f"{address}/64", strict=False))


def came_unencrypted(request: HttpRequest) -> bool:
    """Whether a trusted proxy says that the request reached it over plain http."""
    # Of several proxies, the first one is the one that the client reached.
    protocols = request.META.get("HTTP_X_FORWARDED_PROTO", "").split(",")
    return protocols[0].strip().lower() == "http" and is_within(
        request.META.get("REMOTE_ADDR", ""), settings.TRUSTED_PROXIES
    )


# Headers that a proxy may add.
_FORWARDING = """
    HTTP_FORWARDED HTTP_VIA HTTP_X_REAL_IP HTTP_X_FORWARDED_FOR HTTP_X_FORWARDED_HOST HTTP_X_FORWARDED_PROTO
""".split()


def comes_from_this_host(request: HttpRequest) -> bool:
    """Whether the request comes from a program on this host, and not through a proxy
    from elsewhere.

    A proxy on this host connects from the loopback address for every outside client,
    and may add no header. So if the desk is behind a proxy, no request counts as local.
    """
    if settings.IS_BEHIND_PROXY or any(name in request.META for name in _FORWARDING):
        return False
    try:
        return ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
