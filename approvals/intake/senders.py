"""Who sends webhooks: connections by the id in their webhook's address, remembered for a moment.

Why that is right. What is remembered is never older than KEEP_SECONDS when it counts, so a secret that was removed
works for at most that long. An id that is not remembered is always looked up, so a connection that was just made is
known at once. And before a signature is refused, Redis is asked whether any connection has changed since this process
last read one: a secret that was just added is accepted by the next event. Only where Redis is away, or somebody wrote
to the table past Django, it may take KEEP_SECONDS, and MultiMail sends again what was refused. So a forged webhook
costs no statement but the one that each second costs anyway.
"""

import time
import uuid
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from common.nudge import send
from mirror.models import Connection

KEEP_SECONDS = 1.0
CHANGED = "countersign:connections-changed"
_OVERLAPS = "previous_secret_is_valid"


@dataclass(frozen=True)
class _Remembered:
    connection: Connection
    read_at: float


_remembered: dict[str, _Remembered] = {}
_seen_change: str | None = None


def sender(webhook_id: str) -> Connection | None:
    """Return the connection with this webhook id; None where there is none."""
    remembered = _remembered.get(webhook_id)
    if remembered is not None and time.monotonic() - remembered.read_at < KEEP_SECONDS:
        return remembered.connection
    return _read(webhook_id)


def secrets_of(connection: Connection) -> dict[str, str]:
    """Return the secrets that sign for this connection now, by name."""
    secrets = {"current": connection.webhook_secret}
    if getattr(connection, _OVERLAPS, False):
        secrets["previous"] = connection.previous_webhook_secret
    return secrets


def sender_if_changed(webhook_id: str, change: str | None) -> Connection | None:
    """Return the connection as it is now, if one has changed since this process looked; else None.

    `change` is what Redis holds under CHANGED.
    """
    global _seen_change
    if change == _seen_change:
        return None
    _remembered.clear()
    connection = _read(webhook_id)
    _seen_change = change
    return connection


def announce_change(**_: Any) -> None:
    """Forget what is remembered, here at once and, after commit, in all processes: a connection has changed."""
    _remembered.clear()
    transaction.on_commit(_tell_all, robust=True)


def _tell_all() -> None:
    _remembered.clear()
    send("SET", CHANGED, uuid.uuid4().hex)


def _read(webhook_id: str) -> Connection | None:
    # PostgreSQL cannot even be asked for U+0000.
    began = time.monotonic()
    # Judged by the database's clock: one host's may be off, and would refuse what is valid.
    overlaps = ExpressionWrapper(
        Q(previous_secret_until__gt=Now()) | Q(previous_secret_until=None), output_field=BooleanField()
    )
    found = Connection.objects.at_work().annotate(**{_OVERLAPS: overlaps}).filter(webhook_id=webhook_id)
    connection = None if "\0" in webhook_id else found.first()
    known = _remembered.get(webhook_id)
    if connection is None:
        _remembered.pop(webhook_id, None)
    elif known is None or known.read_at < began:
        _remembered[webhook_id] = _Remembered(connection, began)
    return connection
