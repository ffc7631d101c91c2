"""Examines web and IP addresses: the origin of a URL, whether what is sent to it is
protected on the way, and whether an IP address is public.
"""

import ipaddress
from urllib.parse import urlsplit

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")


def origin_of(url: str) -> str:
    """Return scheme, host and port of `url` in the form that OUTGOING_ALLOW uses, such
    as http://127.0.0.1:8003, with the port also if it is the usual one. Raises ValueError
    for a port that is no number.
    """
    parts = urlsplit(url)
    # The dot at the end of a whole name changes nothing.
    host = (parts.hostname or "").rstrip(".")
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def is_confidential(url: str) -> bool:
    """Whether nobody can read or change what is sent to this URL on its way: it is https,
    or plain http on this machine.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme != "http" or parts.hostname == "localhost":
        return parts.scheme in ("http", "https")
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def is_public(address: str) -> bool:
    """Whether an IP address can be reached on the internet. An IPv4 address inside an
    IPv6 address is judged as IPv4. Raises ValueError if it is no IP address.

    An IPv6 address outside 2000::/3, the only public block, is not public: so the
    well-known prefix of NAT64, IPv4-compatible and site-local addresses are not.
    """
    # Without the zone of an IPv6 address, such as %eth0.
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner_ipv4 = ip.ipv4_mapped or ip.sixtofour
        if inner_ipv4 is None and ip not in _GLOBAL_UNICAST:
            return False
        ip = inner_ipv4 or ip
    return ip.is_global and not ip.is_multicast
