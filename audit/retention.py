"""Removes personal details. The entries stay, and can still be checked: a detail's salt goes with it.

Only what is sealed is forgotten. Until then nothing outside the rights of the database says that an entry was there,
and its details are all that shows what it told.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from audit.models import EntryDetail, Leaf
from audit.recording import ActorLike, record
from common.postgres import clock

# Details of so many entries go in one transaction, with one entry that tells of it: no seal may wait for it long.
STEP = 2000
# Seconds after which the rest is left to the next run.
LONGEST = 30.0
_ERASED = "ledger.details_erased"


@dataclass(frozen=True)
class _Retention:
    """Who removes what is old: the desk by itself."""

    kind: str = "worker"
    id: str = "retention"
    label: str = "the retention worker"
    surface: str = "worker"
    address: str = ""
    proof: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Erased:
    """What became of the details of one message: of how many entries they are gone, and of how many not sealed yet."""

    removed: int
    not_sealed: int


def forget_old_details() -> int:
    """Remove the details of sealed entries that are older than AUDIT_DETAILS_DAYS; return of how many.

    Any number may run at once: each counts what it removed itself.
    """
    days = settings.AUDIT_DETAILS_DAYS
    removed, ends = 0, time.monotonic() + LONGEST
    while days > 0 and time.monotonic() < ends:
        found = _forget_some(clock() - timedelta(days=days))
        removed += found
        if found < STEP:
            break
    return removed


@transaction.atomic
def _forget_some(until: datetime) -> int:
    old = _sealed().filter(entry__at__lt=until).order_by("pk")
    removed = _remove(old[:STEP])
    if removed:
        details = {"entries": str(removed), "up to": f"{until:%Y-%m-%d %H:%M:%S} UTC"}
        record("ledger.details_removed", actor=_Retention(), details=details)
    return removed


@transaction.atomic
def erase_details_of(message: UUID, *, because: str, actor: ActorLike, connection: int | None = None) -> Erased:
    """Remove the details of all sealed entries of one message, whatever their age, and note that with the reason.

    Why details were removed earlier stays: it tells of the removal, not of the message.
    """
    mine = EntryDetail.objects.filter(entry__message=message).exclude(entry__action=_ERASED)
    removed = _remove(_sealed().filter(pk__in=mine.values("pk")))
    left = mine.count()
    if removed:
        details = {"entries": str(removed), "reason": because}
        record(_ERASED, actor=actor, connection=connection, message=message, details=details)
    return Erased(removed, left)


def _sealed() -> "QuerySet[EntryDetail]":
    """Details of entries that stand in the tree (relies on the unique entry of a leaf)."""
    return EntryDetail.objects.filter(Exists(Leaf.objects.filter(entry=OuterRef("pk"))))


def _remove(some: Any) -> int:
    # By their keys, read before: the application's role may delete details, but lock and change none.
    keys = list(some.values_list("pk", flat=True))
    removed, _ = EntryDetail.objects.filter(pk__in=keys).delete()
    return removed
