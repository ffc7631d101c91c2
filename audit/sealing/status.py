"""Tells how far the ledger is sealed, and what delays sealing, for pages, the doctor
and Prometheus. It reads only rows and settings, so that every host gets the same
result.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Min

from audit.models import Entry, Seal
from audit.sealing import anchors, sealer, signing
from audit.sealing.signing import latest_seal, refusal_since
from common.grace import STUCK_AFTER
from common.postgres import cluster_id, current_snapshot, oldest_writer
from common.time_zones import day_and_time

# Unsealed entries are counted up to this number.
COUNTED = 10_000


@dataclass(frozen=True)
class SealingState:
    """How far the ledger is sealed. `why` says what is wrong, and `advice` what to do;
    both are empty if nothing is wrong.
    """

    last: Seal | None
    # How many entries are not sealed yet, up to COUNTED + 1.
    unsealed: int
    # When the oldest of these was written, and how long ago.
    waits_since: datetime | None
    age: timedelta
    # Whether there is a key to sign with.
    is_on: bool
    # Whether the sealer refuses to go on.
    is_stopped: bool
    # Whether an entry has waited for longer than STUCK_AFTER.
    is_late: bool
    # Whether an open transaction keeps entries from being sealed.
    is_blocked: bool
    why: str
    advice: str


def sealing_state(now: datetime) -> SealingState:
    """Return the state; `now` is the time of the database's clock."""
    last = latest_seal()
    # Without entries of transactions that begin after this moment.
    entries = Entry.objects.after_seal(last).filter(xid__lt=current_snapshot().xmax)
    waiting = entries[: COUNTED + 1].aggregate(number=Count("pk"), oldest=Min("at"))
    oldest = waiting["oldest"]
    age = max(now - oldest, timedelta()) if oldest else timedelta()
    is_on = bool(signing.public_keys())
    is_late = age > STUCK_AFTER
    stopped = ""
    if is_on and (refusal := refusal_since(last)):
        stopped = refusal.details.get("reason") or "The ledger failed verification."
    elif is_on and last and last.expected_key not in signing.public_keys():
        stopped = signing.missing_key(last.expected_key)
    elif is_on and last:
        stopped = sealer.why_not_automatic(last, cluster_id())
    holder = oldest_writer() if is_late else None
    why = advice = ""
    if not is_on:
        why = signing.NO_KEY
        advice = "docs/operators/keys.md says what it must hold."
    elif stopped:
        why = stopped
        advice = "Nothing is sealed until this is resolved; see docs/operators/ledger-seals.md."
    elif is_late:
        # Entries of transactions that began after the oldest open one cannot be sealed
        # until that has ended.
        if not holder:
            why = "No open transaction blocks it."
            advice = "The sealing worker is not running, or it fails: see its log."
        else:
            named = holder.who
            if holder.program:
                named += f" ({holder.program})"
            if holder.database:
                named += f" in the database {holder.database}"
            if holder.since:
                named += f", open since {day_and_time(holder.since)}"
            why = f"An open transaction blocks it: {named}."
            advice = (
                "End it. On a shared server, transactions in other databases count too."
            )
    elif (
        seal := anchors.after_newest_anchor()
        .filter(at__lt=now - anchors.PATIENCE)
        .first()
    ):
        why = f"Seal {seal.number} and those after it are not in the seals' file: deleted entries would go unnoticed."
        advice = "SEAL_FILE must name a file that the worker can write."
    return SealingState(
        last=last,
        unsealed=waiting["number"],
        waits_since=oldest,
        age=age,
        is_on=is_on,
        is_stopped=bool(stopped),
        is_late=is_late,
        is_blocked=holder is not None,
        why=why,
        advice=advice,
    )
