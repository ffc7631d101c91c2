"""Finds out which network address a request came from, and how. Forwarding headers
count only if a proxy in TRUSTED_PROXIES sent them.
"""

from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address, ip_network
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
        if not hop or address not in settings.TRUSTED_PROXIES:
            break
        address = _without_port(hop)
    return address


def _without_port(hop: str) -> str:
    # From 203.0.113.9:51234, [2001:db8::1]:443 and ::ffff:203.0.113.9, as some proxies
    # write it.
    hop = hop.removeprefix("::ffff:")
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def network_of(address: str) -> str:
    """Return what rate limits count as one client: the address, or for IPv6 its /64
    network, because one host may use all of that.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed.packed, 64), strict=False))


def came_unencrypted(request: HttpRequest) -> bool:
    """Whether a trusted proxy says that the request reached it over plain http."""
    return (
        request.META.get("HTTP_X_FORWARDED_PROTO") == "http"
        and request.META.get("REMOTE_ADDR", "") in settings.TRUSTED_PROXIES
    )


# Headers that a proxy may add.
_FORWARDING = (
    "HTTP_FORWARDED",
    "HTTP_VIA",
    "HTTP_X_REAL_IP",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PROTO",
)


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
