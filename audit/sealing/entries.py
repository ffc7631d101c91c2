"""Reads what is to be sealed next, in the order of the tree. Raw, for the order of rows: entry_to_seal serves it."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from django.db import connection, models
from django.db.models import Func, Subquery, Value
from django.db.models.functions import Cast, Coalesce, Now

from audit.fields import TransactionIdField
from audit.models import Entry, Seal


def between(horizon: int, until: int, *, after_id: int, at_once: int) -> Iterator[Sequence[Entry]]:
    """Yield the entries of this epoch from one horizon to the next, so many at once."""
    where = "entry.xid >= %s AND entry.xid < %s AND entry.id > %s"
    return _in_order(where, [str(horizon), str(until), after_id], at_once)


def not_sealed_up_to(last_id: int, *, at_once: int) -> Iterator[Sequence[Entry]]:
    """Yield every entry up to this number that is no leaf yet, so many at once: what a restore leaves behind."""
    where = "entry.id <= %s AND NOT EXISTS (SELECT FROM audit_leaf leaf WHERE leaf.entry = entry.id)"
    return _in_order(where, [last_id], at_once)


def _in_order(where: str, parameters: list[Any], at_once: int) -> Iterator[Sequence[Entry]]:
    xid, number = 0, 0
    while True:
        found = Entry.objects.raw(
            f"SELECT entry.* FROM audit_entry entry WHERE {where} AND (entry.xid, entry.id) > (%s, %s)"  # noqa: S608
            " ORDER BY entry.xid, entry.id LIMIT %s",
            [*parameters, str(xid), number, at_once],
        )
        entries = list(found)
        if not entries:
            return
        yield entries
        xid, number = entries[-1].xid, entries[-1].pk


def end_of_step(horizon: int, until: int, *, after_id: int, at_most: int) -> int | None:
    """Return the horizon of a seal over about so many entries, None where there is nothing to seal.

    Transactions are never parted: one with more entries than that is taken whole.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH new AS (SELECT xid, row_number() OVER (ORDER BY xid, id) AS place FROM audit_entry"
            "  WHERE xid >= %(from)s AND xid < %(until)s AND id > %(after)s ORDER BY xid, id LIMIT %(most)s + 1)"
            " SELECT (SELECT xid FROM new WHERE place = 1)::text,"
            "  (SELECT xid FROM new WHERE place = %(most)s + 1)::text",
            {"from": str(horizon), "until": str(until), "after": after_id, "most": at_most},
        )
        first, beyond = cursor.fetchone()
    if first is None:
        return None
    if beyond is None:
        return until
    return int(beyond) if beyond != first else int(first) + 1


def unsealed(last: Seal | None, *, at_most: int) -> tuple[int, Any]:
    """Return how many entries no seal covers yet, up to so many, and since when the oldest of them waits."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH new AS (SELECT at FROM audit_entry WHERE xid >= %s AND id > %s"
            "  AND xid < pg_snapshot_xmax(pg_current_snapshot()) ORDER BY xid, id LIMIT %s)"
            " SELECT count(*), min(at) FROM new",
            [str(last.horizon if last else 0), last.after_id if last else 0, at_most],
        )
        number, oldest = cursor.fetchone()
    return number, oldest


def late(longer_than: timedelta) -> models.QuerySet[Entry]:
    """Return the oldest entry that no seal covers, where it has waited for longer: one part of a count by one query."""
    last = Seal.objects.order_by("-number")
    horizon = Coalesce(Subquery(last.values("horizon")[:1]), Cast(Value("0"), TransactionIdField()))
    after_id = Coalesce(Subquery(last.values("after_id")[:1]), Value(0), output_field=models.BigIntegerField())
    now = Func(Func(function="pg_current_snapshot"), function="pg_snapshot_xmax", output_field=TransactionIdField())
    waiting = Entry.objects.filter(xid__gte=horizon, xid__lt=now, id__gt=after_id).order_by("xid", "id")
    return Entry.objects.filter(pk=Subquery(waiting.values("pk")[:1]), at__lt=Now() - longer_than)
