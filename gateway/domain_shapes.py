"""Domains as answers show them, with what their owners put into DNS."""

from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from gateway.domains import PROOF
from gateway.models import Domain
from gateway.timestamps import iso


def domain(row: Domain) -> dict[str, Any]:
    """Return a domain. Mail is not signed here, so `dkim_verified` and `return_path_verified` are never true."""
    return {
        "id": row.pk,
        "domain": row.domain,
        "status": row.status,
        "dkim_verified": False,
        "spf_verified": row.spf_verified,
        "mx_verified": row.mx_verified,
        "return_path_verified": row.return_path_verified,
        "dns_records": [_proof(row), _spf(row), _mx(row)],
        "created_at": iso(row.created_at),
        "verified_at": iso(row.verified_at),
    }


def _proof(row: Domain) -> dict[str, Any]:
    active = row.status == Domain.Status.ACTIVE
    return _record(row, "TXT", f"{PROOF}{row.token}", "proves that the domain is yours", active)


def _spf(row: Domain) -> dict[str, Any]:
    server = urlsplit(settings.EMAIL_URL).hostname or ""
    return _record(row, "TXT", f"v=spf1 {_sender(server)} ~all", "lets the mail server send for it", row.spf_verified)


def _mx(row: Domain) -> dict[str, Any]:
    host = urlsplit(settings.PUBLIC_URL).hostname or ""
    return _record(row, "MX", host, "brings its mail to this gateway", row.mx_verified) | {"priority": 10}


def _sender(host: str) -> str:
    """Return how SPF names this host."""
    if not host:
        return "mx"
    try:
        address = ip_address(host)
    except ValueError:
        return f"a:{host}"
    return f"ip{address.version}:{address}"


def _record(row: Domain, kind: str, value: str, purpose: str, verified: bool) -> dict[str, Any]:
    return {"type": kind, "name": row.domain, "value": value, "purpose": purpose, "verified": verified}
