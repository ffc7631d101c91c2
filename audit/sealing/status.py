"""How far the ledger is sealed, and what delays it, in sentences for pages, the doctor and Prometheus.

It reads rows and settings only, so that it says the same on every host.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import Func, Subquery, Value
from django.db.models.functions import Cast, Coalesce, Now

from audit.fields import TransactionIdField
from audit.models import Entry, Seal
from audit.sealing import anchors, restoring, signing
from audit.sealing.preconditions import latest_seal, read_cluster, refusal_since
from common.grace import STUCK_AFTER
from common.postgres.rows import run

# Entries are counted up to this many.
COUNTED = 10_000


@dataclass(frozen=True)
class SealingState:
    """How far the ledger is sealed. `why` is empty while nothing is wrong."""

    last: Seal | None
    # Up to COUNTED + 1.
    unsealed: int
    # Since when the oldest unsealed entry waits.
    waits_since: datetime | None
    age: timedelta
    # Whether there is a key to sign with.
    is_on: bool
    # The sealer refused to continue.
    is_stopped: bool
    is_late: bool
    # An open transaction keeps new entries from being sealed.
    is_blocked: bool
    why: str
    advice: str

    @property
    def is_well(self) -> bool:
        return self.is_on and not self.is_stopped and not self.is_late and not self.why


def sealing_state(now: datetime) -> SealingState:
    """Return the state at this moment, by the database's clock."""
    last = latest_seal()
    number, oldest = _unsealed(last, at_most=COUNTED + 1)
    age = max(now - oldest, timedelta()) if oldest else timedelta()
    is_on, is_late = bool(signing.public_keys()), age > STUCK_AFTER
    stopped = _why_stopped(last) if is_on else ""
    holder = run(_HOLDERS).one() if is_late else None
    if not is_on:
        why, advice = str(signing.NoKey()), "docs/operators/keys.md says what it must hold."
    elif stopped:
        why, advice = stopped, "Nothing is sealed until this is resolved; see docs/operators/ledger-seals.md."
    elif is_late:
        why, advice = _why_late(holder)
    else:
        why, advice = _why_not_outside(now)
    return SealingState(last, number, oldest, age, is_on, bool(stopped), is_late, holder is not None, why, advice)


def _why_stopped(last: Seal | None) -> str:
    if refusal := refusal_since(last):
        detail = getattr(refusal, "detail", None)
        return str(detail.fields.get("reason", "")) if detail else "The ledger failed verification."
    if last and last.expected_key not in signing.public_keys():
        return signing.missing_key(last.expected_key)
    return restoring.why_not_automatic(last, read_cluster()) if last else ""


# By age: PostgreSQL hides when sessions of other roles began, and shows the age of their transaction.
_HOLDERS = """
SELECT who, program, nullif(place, current_database()), since FROM (
  SELECT 'process ' || pid, coalesce(application_name, ''), coalesce(datname, ''), xact_start, age(backend_xid)
    FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
  UNION ALL
  SELECT 'prepared transaction ' || gid, '', database, prepared, age(transaction) FROM pg_prepared_xacts
) AS open (who, program, place, since, age) ORDER BY age DESC LIMIT 1
"""


def _why_late(holder: Any) -> tuple[str, str]:
    """Name the oldest open transaction that has written: nothing that began after it can be sealed before it ends."""
    if holder is None:
        return "No open transaction blocks it.", "The sealing worker is not running, or it fails: see its log."
    who, program, elsewhere, since = holder
    named = f"{who}{f' ({program})' if program else ''}{f' in the database {elsewhere}' if elsewhere else ''}"
    began = f", open since {since:%-d %b, %H:%M:%S} UTC" if since else ""
    return (
        f"An open transaction blocks it: {named}{began}.",
        "End it. On a shared server, transactions in other databases count too.",
    )


def _why_not_outside(now: datetime) -> tuple[str, str]:
    waiting = anchors.oldest_without_file(now)
    if waiting is None:
        return "", ""
    return (
        f"Seal {waiting.number} and those after it are not in the seals' file: deleted entries would go unnoticed.",
        "SEAL_FILE must name a file that the worker can write.",
    )


def _unsealed(last: Seal | None, *, at_most: int) -> tuple[int, Any]:
    """Return how many entries no seal covers yet, up to so many, and since when the oldest of them waits."""
    xid, number, after_id = (last.end_xid, last.end_id, last.after_id) if last else (0, 0, 0)
    number, oldest = run(
        "WITH new AS (SELECT at FROM audit_entry WHERE (xid, id) > (%s, %s) AND id > %s"
        "  AND xid < pg_snapshot_xmax(pg_current_snapshot()) ORDER BY xid, id LIMIT %s)"
        " SELECT count(*), min(at) FROM new",
        [str(xid), number, after_id, at_most],
    ).row()
    return number, oldest


def overdue(longer_than: timedelta) -> models.QuerySet[Entry]:
    """Return the oldest entry that no seal covers, where it has waited for longer: one part of a count by one query."""
    last = Seal.objects.order_by("-number")
    end_xid = Coalesce(Subquery(last.values("end_xid")[:1]), Cast(Value("0"), TransactionIdField()))
    end_id, after_id = (
        Coalesce(Subquery(last.values(name)[:1]), Value(0), output_field=models.BigIntegerField())
        for name in ("end_id", "after_id")
    )
    now = Func(Func(function="pg_current_snapshot"), function="pg_snapshot_xmax", output_field=TransactionIdField())
    waiting = Entry.objects.filter(xid__gte=end_xid, xid__lt=now, id__gt=after_id)
    waiting = waiting.exclude(xid=end_xid, id__lte=end_id).order_by("xid", "id")
    return Entry.objects.filter(pk=Subquery(waiting.values("pk")[:1]), at__lt=Now() - longer_than)
