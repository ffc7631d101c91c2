"""Removes personal details. The entries stay, and can still be checked: a detail's salt
goes with it.

Only details of sealed entries are removed. Until then nothing but the rights of the
database protects an entry, and its details are all that shows what it said.
"""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection as database
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from audit.models import Entry, EntryDetail, SealedEntry
from audit.recording import record
from audit.verifier.countersign_verify import Ranges
from common.actors import Actor, worker
from common.postgres import clock, take_lock

# How many entries lose their details in one transaction: seals must not wait long for
# it.
STEP = 2000
# Seconds after which the rest is left to the next run.
LONGEST = 30.0
_ERASED = "ledger.details_erased"
_REMOVALS = ("ledger.details_removed", _ERASED)
_LOCK = "audit.retention"
_RETENTION = worker("retention")


def remove_old_details() -> int:
    """Remove the details of sealed entries that are older than AUDIT_DETAILS_DAYS;
    return how many entries that were.

    Several may run at once: each counts what it removed itself.
    """
    days = settings.AUDIT_DETAILS_DAYS
    removed = 0
    ends = time.monotonic() + LONGEST
    while days > 0 and time.monotonic() < ends:
        found = _remove_some(clock() - timedelta(days=days))
        removed += found
        if found < STEP:
            break
    return removed


@transaction.atomic
def _remove_some(until: datetime) -> int:
    # An entry must name exactly the details that it removed, and no other removal may
    # run beside it.
    take_lock(_LOCK)
    old = _sealed().filter(entry__at__lt=until).order_by("pk")
    numbers = list(old.values_list("pk", flat=True)[:STEP])
    if numbers:
        details = _removal_details(numbers)
        details["up to"] = f"{until:%Y-%m-%d %H:%M:%S} UTC"
        entry = record("ledger.details_removed", _RETENTION, details=details)
        remove_details(numbers, entry)
    return len(numbers)


@transaction.atomic
def erase_details_of(
    message: UUID, *, because: str, actor: Actor, connection: int | None = None
) -> tuple[int, int]:
    """Remove the details of all sealed entries of one message, whatever their age, and
    note that with the reason. Return how many entries lost theirs, and how many did
    not, because they are not sealed yet.

    Why details were removed earlier stays: it is about the removal, not about the
    message.
    """
    take_lock(_LOCK)
    mine = EntryDetail.objects.filter(entry__message=message).exclude(
        entry__action__in=_REMOVALS
    )
    sealed = _sealed().filter(pk__in=mine.values("pk"))
    removed = list(sealed.values_list("pk", flat=True))
    left = mine.count() - len(removed)
    if removed:
        details = _removal_details(removed) | {"reason": because}
        entry = record(
            _ERASED, actor, connection=connection, message=message, details=details
        )
        remove_details(removed, entry)
    return len(removed), left


def _sealed() -> "QuerySet[EntryDetail]":
    """Details of sealed entries, but for those of removals."""
    return EntryDetail.objects.filter(
        Exists(SealedEntry.objects.filter(entry=OuterRef("pk")))
    ).exclude(entry__action__in=_REMOVALS)


def remove_details(numbers: Sequence[int], removal: Entry) -> None:
    """Remove the details of these entries, which the entry of the removal names in its
    detail `numbers`.

    By SQL of its own: the application's role can remove details through this function
    of the database only.
    """
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT audit_remove_details(%s, %s)", [removal.pk, list(numbers)]
        )


def _removal_details(numbers: list[int]) -> dict[str, str]:
    return {"entries": str(len(numbers)), "numbers": str(Ranges.over(numbers))}
