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
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import redis
from django.db import transaction
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from common.enqueue import is_resting, quick_redis, rest, send
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


WINDOW = 60
# A sender with a wrong secret tries each event four times; beyond these nobody needs to be told the same again.
FROM_ONE_ADDRESS, TO_ONE_CONNECTION = 60, 600
TOTAL = "countersign:unsigned-total"


@dataclass(frozen=True)
class Counted:
    """How things stand after one more: `wait` is how long to stay away, 0 while there is no need."""

    wait: int
    # What Redis holds of the last change to a connection; `is_known` is false while Redis is away.
    change: str | None = None
    is_known: bool = False


_local: dict[str, int] = {}
_local_window = 0


def count_unsigned(*, connection: int, address: str) -> Counted:
    """Count one more webhook without a valid signature."""
    window, second = divmod(int(time.time()), WINDOW)
    keys = (
        f"countersign:unsigned:{window}:address:{address}",
        f"countersign:unsigned:{window}:connection:{connection}",
    )
    change, is_known = None, False
    try:
        numbers, change = _count_in_redis(keys)
        is_known = True
    except redis.RedisError:
        numbers = _count_here(window, keys)
    is_too_many = numbers[0] > FROM_ONE_ADDRESS or numbers[1] > TO_ONE_CONNECTION
    return Counted(wait=WINDOW - second if is_too_many else 0, change=change, is_known=is_known)


def unsigned_lately(connections: Iterable[int]) -> dict[int, int]:
    """Return how many each connection had in the last minute or two; nothing while Redis is away."""
    wanted, window = list(connections), int(time.time()) // WINDOW
    keys = [f"countersign:unsigned:{w}:connection:{key}" for key in wanted for w in (window - 1, window)]
    if not keys or is_resting():
        return {}
    try:
        found: list[bytes | None] = quick_redis().mget(keys)
    except redis.RedisError:
        rest()
        return {}
    return {key: int(found[2 * n] or 0) + int(found[2 * n + 1] or 0) for n, key in enumerate(wanted)}


def unsigned_total() -> int | None:
    """Return how many there ever were; None while Redis is away."""
    if is_resting():
        return None
    try:
        found: bytes | None = quick_redis().get(TOTAL)
    except redis.RedisError:
        rest()
        return None
    return int(found or 0)


def _count_in_redis(keys: tuple[str, str]) -> tuple[list[int], str | None]:
    if is_resting():
        raise redis.ConnectionError("Redis rests")
    pipeline = quick_redis().pipeline(transaction=False)
    for key in keys:
        pipeline.incr(key)
        pipeline.expire(key, WINDOW * 2)
    pipeline.incr(TOTAL)
    pipeline.get(CHANGED)
    try:
        of_address, _, of_connection, _, _, change = pipeline.execute()
    except redis.RedisError:
        rest()
        raise
    return [of_address, of_connection], change.decode() if change else None


def _count_here(window: int, keys: tuple[str, str]) -> list[int]:
    global _local_window
    if window != _local_window or len(_local) > 10_000:
        _local.clear()
        _local_window = window
    for key in keys:
        _local[key] = _local.get(key, 0) + 1
    return [_local[key] for key in keys]
