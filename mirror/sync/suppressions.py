"""Keeps the list of addresses that MultiMail writes to no more, as an admin key may read it. Without one nobody asks.

Only shown beside an address: nothing is decided by it, and a list that cannot be read stays as it was.
"""

import logging
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from mirror.models import Connection, SuppressedAddress
from mirror.sync import health
from upstream import errors
from upstream.client import Client

log = logging.getLogger(__name__)

# More than these nobody looks at; the newest come first.
MOST = 20_000
MAX_REASON = 60


def read_suppressed(*, connection_id: int) -> str:
    """Read the list of one connection and return a short word."""
    connection = Connection.objects.get(pk=connection_id)
    if not connection.admin_key:
        return "no key"
    try:
        rows = Client(base_url=connection.api_url, key=connection.admin_key).list_suppressed(most=MOST)
    except errors.UpstreamError as error:
        if isinstance(error, errors.Throttled):
            health.wait(connection, error.retry_after)
        log.warning("suppressed addresses not read", extra={"connection": connection.slug, "reason": error.sentence})
        return "not now"
    _keep(connection, dict(filter(None, map(_told, rows))), is_whole=len(rows) < MOST)
    return "read"


def _told(row: Mapping[str, Any]) -> tuple[str, str] | None:
    address = str(row.get("email_address") or "").strip().lower()[:320]
    return (address, str(row.get("reason") or "")[:MAX_REASON]) if "@" in address else None


@transaction.atomic
def _keep(connection: Connection, told: Mapping[str, str], *, is_whole: bool) -> None:
    """Write down what changed alone: mostly nothing does."""
    mine = SuppressedAddress.objects.filter(connection=connection)
    known = dict(mine.values_list("address", "reason"))
    gone = [address for address in known if is_whole and address not in told]
    mine.filter(address__in=gone).delete()
    rows = [
        SuppressedAddress(connection=connection, address=address, reason=reason)
        for address, reason in told.items()
        if known.get(address) != reason
    ]
    SuppressedAddress.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["connection", "address"], update_fields=["reason"]
    )
