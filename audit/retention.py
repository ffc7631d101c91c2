"""Removes the personal details of entries: of old ones by a daily task, and of one
message when somebody asks for it. The entries themselves stay and can still be
verified.

Only details of sealed entries are removed. An entry that is not sealed yet is protected
only by the rights of the database, so its details may still be needed as evidence.
"""

import time
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection as database
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from audit.models import Entry, EntryDetail, SealedEntry
from audit.recording import record
from audit.verifier.countersign_verify import REMOVALS, Ranges
from common.actors import Actor, worker
from common.postgres import clock, take_lock

# How many entries lose their details in one transaction. The sealer has to wait for
# open transactions, so each must be short.
STEP = 2000
# After so many seconds, the rest is left to the next run.
LONGEST = 30.0
_LOCK = "audit.retention"


def remove_old_details() -> int:
    """Remove the details of sealed entries that are older than AUDIT_DETAILS_DAYS.
    Return how many entries lost theirs. Several calls may run at once.
    """
    days = settings.AUDIT_DETAILS_DAYS
    removed = 0
    ends = time.monotonic() + LONGEST
    while days > 0 and time.monotonic() < ends:
        number = _remove_some(clock() - timedelta(days=days))
        removed += number
        if number < STEP:
            break
    return removed


# Removes the details of at most STEP entries in one transaction; returns how many.
@transaction.atomic
def _remove_some(until: datetime) -> int:
    # The entry about the removal must list exactly the removed details, so no other
    # removal may run at the same time.
    take_lock(_LOCK)
    old = _sealed().filter(entry__at__lt=until).order_by("pk")
    numbers = list(old.values_list("pk", flat=True)[:STEP])
    if numbers:
        details = _removal_details(numbers)
        details["up to"] = f"{until:%Y-%m-%d %H:%M:%S} UTC"
        entry = record("ledger.details_removed", worker("retention"), details=details)
        remove_details(numbers, entry)
    return len(numbers)


@transaction.atomic
def erase_details_of(
    message: UUID, *, because: str, actor: Actor, connection: int | None = None
) -> tuple[int, int]:
    """Remove the details of all sealed entries of one message, whatever their age, and
    record that with the reason. Return (how many entries lost theirs, how many did not
    because they are not sealed yet).

    Entries about earlier removals keep their details: these say why it was done, and
    nothing about the message.
    """
    take_lock(_LOCK)
    of_message = EntryDetail.objects.filter(entry__message=message).exclude(
        entry__action__in=REMOVALS
    )
    sealed = _sealed().filter(pk__in=of_message.values("pk"))
    removed = list(sealed.values_list("pk", flat=True))
    unsealed = of_message.count() - len(removed)
    if removed:
        details = _removal_details(removed) | {"reason": because}
        entry = record(
            "ledger.details_erased",
            actor,
            connection=connection,
            message=message,
            details=details,
        )
        remove_details(removed, entry)
    return len(removed), unsealed


def _sealed() -> "QuerySet[EntryDetail]":
    """Return the details of sealed entries, except entries about removals."""
    return EntryDetail.objects.filter(
        Exists(SealedEntry.objects.filter(entry=OuterRef("pk")))
    ).exclude(entry__action__in=REMOVALS)


def remove_details(numbers: list[int], removal: Entry) -> None:
    """Remove the details of the entries with these numbers. `removal` is the entry
    about it, which lists them in its detail `numbers`.

    In raw SQL, because the application's database role has no right to delete details
    except through this database function.
    """
    with database.cursor() as cursor:
        cursor.execute("SELECT audit_remove_details(%s, %s)", [removal.pk, numbers])


def _removal_details(numbers: list[int]) -> dict[str, str]:
    return {"entries": str(len(numbers)), "numbers": str(Ranges.over(numbers))}
