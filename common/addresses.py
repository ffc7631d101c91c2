"""Where a request came from. Forwarding headers count only from proxies in
TRUSTED_PROXIES.
"""

from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """Return the network address of whoever asks."""
    return address_in(request.META)


def address_in(environ: Mapping[str, Any]) -> str:
    """Return the same from a WSGI environment."""
    peer = str(environ.get("REMOTE_ADDR", ""))
    forwarded = str(environ.get("HTTP_X_FORWARDED_FOR", ""))
    return (
        forwarded.split(",")[-1].strip()
        if forwarded and peer in settings.TRUSTED_PROXIES
        else peer
    )


def network_of(address: str) -> str:
    """Return what limits count as one address: of IPv6 the /64 network, all of which
    one host may use.
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
    scheme = request.META.get("HTTP_X_FORWARDED_PROTO", "")
    return (
        scheme == "http"
        and str(request.META.get("REMOTE_ADDR", "")) in settings.TRUSTED_PROXIES
    )


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

    A proxy on this host connects from the loopback address for every stranger, and need
    not say so in a header. So where the desk is behind one, nobody counts as local.
    """
    if settings.IS_BEHIND_PROXY or any(name in request.META for name in _FORWARDING):
        return False
    try:
        return ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
