"""Keeps the contacts of an account, as a read key may read them: the list mode `contacts` asks them, and nothing else.

What could not be read for a day counts as not read: then nobody is known, and the mode refuses.
"""

import logging
from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from common.patterns import compared
from mirror.models import Connection, KnownContact
from mirror.sync import health
from upstream import errors
from upstream.client import Client

log = logging.getLogger(__name__)

# Of more than these the oldest are unknown here, and refused.
MOST = 200_000
_AT_ONCE = 5000


def read_contacts(*, connection_id: int) -> str:
    """Read the contacts of one connection and return a short word."""
    connection = Connection.objects.get(pk=connection_id)
    if not connection.read_key:
        # Whoever takes the key off wants nothing more to rest on what it once showed.
        Connection.objects.filter(pk=connection_id).exclude(contacts_read_at=None).update(contacts_read_at=None)
        return "no key"
    try:
        rows = Client(base_url=connection.api_url, key=connection.read_key).list_contacts(most=MOST)
    except errors.UpstreamError as error:
        if isinstance(error, errors.Throttled):
            health.wait(connection, error.retry_after)
        log.warning("contacts not read", extra={"connection": connection.slug, "reason": error.sentence})
        return "not now"
    _keep(connection, {address for row in rows if (address := _told(row))})
    return "read"


def _told(row: Mapping[str, Any]) -> str | None:
    return compared(str(row.get("email") or row.get("address") or "")[:1000])


@transaction.atomic
def _keep(connection: Connection, told: set[str]) -> None:
    """Write down what changed alone: mostly nothing does."""
    mine = KnownContact.objects.filter(connection=connection)
    known = set(mine.values_list("address", flat=True))
    mine.filter(address__in=known - told).delete()
    fresh = [KnownContact(connection=connection, address=address) for address in sorted(told - known)]
    KnownContact.objects.bulk_create(fresh, ignore_conflicts=True, batch_size=_AT_ONCE)
    Connection.objects.filter(pk=connection.pk).update(contacts_read_at=Now())
