"""At which of its addresses the desk can have passkeys: browsers tie them to a host name, over https or at home."""

import ipaddress
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest
from django.http.request import split_domain_port, validate_host


@dataclass(frozen=True)
class Hindrance:
    """Why this address cannot have passkeys, and where it can be had instead."""

    sentence: str
    address: str = ""


def passkey_hindrance(request: HttpRequest) -> Hindrance | None:
    """Return what keeps a browser from using passkeys at the address it asked; None where nothing does."""
    host, port = split_domain_port(request.get_host())
    is_home = host == "localhost" or host.endswith(".localhost")
    if is_home or (request.is_secure() and not _is_number(host)):
        return None
    if _is_number(host) and ipaddress.ip_address(host.strip("[]")).is_loopback:
        other = f"http://localhost{f':{port}' if port else ''}{request.path}"
        can_go = not request.is_secure() and validate_host("localhost", settings.ALLOWED_HOSTS)
        return Hindrance("Passkeys need a host name, and this address is a number.", other if can_go else "")
    return Hindrance("Passkeys need a host name and https. Ask whoever runs this desk for such an address.")


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
