"""Removes the personal details of entries: of old ones by a daily task, and of one
message when somebody asks for it. The entries themselves stay and can still be
verified.

It takes two steps. First an entry lists the entries whose details will be removed; when
that entry is sealed, they are removed. So whoever finds details missing finds a sealed
entry that says so, at any moment: an unsealed one proves nothing, because whoever can
write to the database can add it.

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
from common.postgres import clock

# How many entries one entry lists. The sealer has to wait for open transactions, so
# each must be short.
STEP = 2000
# After so many seconds, the rest is left to the next run.
LONGEST = 10.0


def list_old_details() -> None:
    """List the sealed entries whose details are older than AUDIT_DETAILS_DAYS. Does
    nothing while an earlier list is not sealed yet.
    """
    days = settings.AUDIT_DETAILS_DAYS
    waiting = Entry.objects.unsealed().of_action("ledger.details_removed")
    if days <= 0 or waiting.exists():
        return
    after = 0
    ends = time.monotonic() + LONGEST
    while time.monotonic() < ends:
        numbers = _list_some(clock() - timedelta(days=days), after=after)
        if len(numbers) < STEP:
            break
        after = numbers[-1]


# Lists at most STEP entries with numbers above `after`; returns their numbers.
@transaction.atomic
def _list_some(until: datetime, *, after: int) -> list[int]:
    old = _sealed().filter(pk__gt=after, entry__at__lt=until).order_by("pk")
    numbers = list(old.values_list("pk", flat=True)[:STEP])
    if numbers:
        details = _list(numbers) | {"up to": f"{until:%Y-%m-%d %H:%M:%S} UTC"}
        record("ledger.details_removed", worker("retention"), details=details)
    return numbers


@transaction.atomic
def list_details_of(
    message: UUID, *, because: str, actor: Actor, connection: int | None = None
) -> None:
    """List all sealed entries of one message, whatever their age, with the reason.

    Entries about earlier removals keep their details: these say why it was done, and
    nothing about the message.
    """
    numbers = list(
        _sealed().filter(entry__message=message).values_list("pk", flat=True)
    )
    if numbers:
        record(
            "ledger.details_erased",
            actor,
            connection=connection,
            message=message,
            details=_list(numbers) | {"reason": because},
        )


def remove_listed() -> int:
    """Remove the details that sealed entries list, the newest list first. Return of how
    many entries. Several calls may run at once.

    In raw SQL, because the application's database role has no right to delete details
    except through this database function.
    """
    removed = 0
    lists = Entry.objects.filter(action__in=REMOVALS).newest_first()
    ends = time.monotonic() + LONGEST
    with database.cursor() as cursor:
        for number in lists.values_list("pk", flat=True):
            if time.monotonic() > ends:
                break
            cursor.execute("SELECT audit_remove_details(%s)", [number])
            removed += cursor.fetchone()[0]
    return removed


def removable() -> "QuerySet[EntryDetail]":
    """Return all details, except those of entries about removals."""
    return EntryDetail.objects.exclude(entry__action__in=REMOVALS)


def _sealed() -> "QuerySet[EntryDetail]":
    return removable().filter(Exists(SealedEntry.objects.filter(entry=OuterRef("pk"))))


def _list(numbers: list[int]) -> dict[str, str]:
    return {"entries": str(len(numbers)), "numbers": str(Ranges.over(numbers))}
