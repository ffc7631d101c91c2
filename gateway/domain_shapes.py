"""Domains as answers show them, with what their owners put into DNS."""

from typing import Any

from gateway.domain_records import DMARC, MX, OWNERSHIP, SPF, Record, records_of
from gateway.models import Domain
from gateway.timestamps import iso


def domain(row: Domain) -> dict[str, Any]:
    """Return a domain with its records, and what DNS said of each when it was last asked."""
    records = records_of(row)
    signs = any(key.verified_at and not key.retired_at for key in row.dkim_keys.all())
    return {
        "id": row.pk,
        "domain": row.domain,
        "status": row.status,
        "dkim_verified": signs,
        "spf_verified": row.is_right(SPF),
        "dmarc_verified": row.is_right(DMARC),
        "mx_verified": row.is_right(MX),
        # The envelope sender is of the domain itself.
        "return_path_verified": row.is_right(SPF),
        "dns_records": [_record(row, record) for record in records],
        "created_at": iso(row.created_at),
        "verified_at": iso(row.verified_at),
        "looked_at": iso(row.looked_at),
    }


def _record(row: Domain, record: Record) -> dict[str, Any]:
    told = {
        "type": record.type,
        "name": record.name,
        "value": record.value,
        "purpose": record.purpose,
        "verified": row.is_right(record.key) or (record.key == OWNERSHIP and row.status == Domain.Status.ACTIVE),
        "problem": row.dns_problems.get(record.key) or None,
    }
    return told | ({"priority": 10} if record.type == "MX" else {})
