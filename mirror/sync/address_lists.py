"""Stores two lists of an account as MultiMail has them: its contacts and its suppressed
addresses.

Contacts are for the list mode `contacts` alone: read longer than a day ago they count
as unknown, and the mode refuses. Suppressed addresses are only shown; that list stays
as it was when it cannot be read.
"""

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from common.patterns import compared
from mirror.models import Connection, KnownContact, SuppressedAddress
from mirror.sync import health
from upstream import errors
from upstream.client import Client

# The oldest contacts beyond this number are not read, so they count as unknown.
MAX_CONTACTS = 200_000
# More suppressed addresses are not read; the newest come first.
MAX_SUPPRESSED = 20_000
MAX_REASON = 60
_CHUNK = 5000
_Rows = list[dict[str, Any]]


def read_contacts(*, connection_id: int) -> str:
    """Read the contacts of one connection and return a short word."""
    connection = Connection.objects.get(pk=connection_id)
    if not connection.read_key:
        # Once the key is removed, its contacts must not be used.
        Connection.objects.filter(pk=connection_id).exclude(
            contacts_read_at=None
        ).update(contacts_read_at=None)
        return "no key"
    # MultiMail documents no limit here.
    page = 500 if connection.is_our_gateway else 0
    rows = _read(
        connection,
        connection.read_key,
        lambda client: client.list_contacts(most=MAX_CONTACTS, page=page),
        "contacts",
    )
    if rows is None:
        return "not now"
    texts = (str(row.get("email") or row.get("address") or "")[:1000] for row in rows)
    addresses = {address for text in texts if (address := compared(text))}
    with transaction.atomic():
        # Only what changed is written: mostly there is nothing.
        stored = KnownContact.objects.filter(connection=connection)
        known = set(stored.values_list("address", flat=True))
        stored.filter(address__in=known - addresses).delete()
        new = [
            KnownContact(connection=connection, address=address)
            for address in sorted(addresses - known)
        ]
        KnownContact.objects.bulk_create(new, ignore_conflicts=True, batch_size=_CHUNK)
        Connection.objects.filter(pk=connection.pk).update(contacts_read_at=Now())
    return "read"


def read_suppressed(*, connection_id: int) -> str:
    """Read the suppressed addresses of one connection and return a short word."""
    connection = Connection.objects.get(pk=connection_id)
    if not connection.admin_key:
        return "no key"
    # MultiMail documents 100 at most.
    page = 500 if connection.is_our_gateway else 100
    rows = _read(
        connection,
        connection.admin_key,
        lambda client: client.list_suppressed(most=MAX_SUPPRESSED, page=page),
        "suppressed addresses",
    )
    if rows is None:
        return "not now"
    is_whole = len(rows) < MAX_SUPPRESSED
    reasons = {}
    for row in rows:
        address = str(row.get("email_address") or "").strip().lower()[:320]
        if "@" in address:
            reasons[address] = str(row.get("reason") or "")[:MAX_REASON]
    with transaction.atomic():
        stored = SuppressedAddress.objects.filter(connection=connection)
        known = dict(stored.values_list("address", "reason"))
        if is_whole:
            stored.filter(address__in=known.keys() - reasons.keys()).delete()
        new = [
            SuppressedAddress(connection=connection, address=address, reason=reason)
            for address, reason in reasons.items()
            if known.get(address) != reason
        ]
        SuppressedAddress.objects.bulk_create(
            new,
            update_conflicts=True,
            unique_fields=["connection", "address"],
            update_fields=["reason"],
        )
    return "read"


def _read(
    connection: Connection, key: str, call: Callable[[Client], _Rows], what: str
) -> _Rows | None:
    try:
        return call(Client(base_url=connection.api_url, key=key))
    except errors.UpstreamError as error:
        health.note_unread(connection, what, error)
        return None
