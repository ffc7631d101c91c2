"""Takes the ledger up again after a restore: a `restored` seal closes what came from the backup and begins an epoch.

Transaction ids of another cluster, or of a time that was played back, say nothing about the order of new ones.
"""

import time

from django.db import connection

from audit.models import Seal
from audit.recording import ActorLike, record
from audit.sealing.base import check_base, read_facts
from audit.sealing.entries import not_sealed_up_to
from audit.sealing.growth import AT_ONCE, Growth
from audit.sealing.refusals import SealingRefused
from audit.sealing.resealing import check_entries

ELSEWHERE = "The database came from a backup: the cluster it is in is another one."
# Longer ledgers are compared for longer than a task may run: about a minute for a million entries.
LONGEST_IN_TASK = 1_500_000
# Seconds to wait for transactions that were open when the restore was noticed.
PATIENCE, LOOK_EVERY = 10.0, 0.05


def is_elsewhere(last: Seal, cluster: str) -> bool:
    """Whether the database is in another cluster than when it was last sealed, as far as that may be read."""
    return bool(last.cluster and cluster and last.cluster != cluster)


def why_not_by_itself(last: Seal, cluster: str) -> str:
    """Return why the ledger is not taken up without a word: a long one is left to a command, which has the time."""
    if not is_elsewhere(last, cluster) or last.size <= LONGEST_IN_TASK:
        return ""
    return (
        f"{ELSEWHERE} With {last.size:,} sealed entries the comparison takes longer than a task may run; do it with "
        './run manage audit_restored --because "...".'
    )


def take_up(last: Seal, *, because: str, actor: ActorLike, key: bytes | None = None) -> int:
    """Seal every entry that is there and in no seal, and begin the next epoch; return how many there were.

    What was sealed is compared with the entries first, all of it, whose time is the ledger's length.
    Must be called by whoever holds the sealers' lock and has written nothing yet.
    """
    base = check_base(last)
    check_entries(base)
    begin, last_id = _close_epoch()
    growth = Growth(base)
    growth.take(not_sealed_up_to(last_id, at_once=AT_ONCE))
    says = {"epoch": last.epoch + 1, "after_id": last_id, "note": because} | ({"key": key} if key else {})
    seal = growth.seal(read_facts(), kind=Seal.Kind.RESTORED, horizon=begin, **says)
    details = {"seal": str(seal.number), "epoch": str(seal.epoch), "entries": str(growth.added), "reason": because}
    record("ledger.restored", actor=actor, details=details)
    return growth.added


def _close_epoch() -> tuple[int, int]:
    """Return where the next epoch begins: a transaction id and an entry's number, all entries up to which are there.

    An entry's number and its transaction's id are taken together (audit.recording), the id first. So whoever took a
    number up to `last_id` has an id below `everybody`, and is waited for; and whoever takes a later number was still
    open, or not there yet, when `begin` was read.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
        begin = int(cursor.fetchone()[0])
        cursor.execute(
            "SELECT greatest((SELECT last_value FROM audit_entry_id_seq),"
            " (SELECT coalesce(max(id), 0) FROM audit_entry))"
        )
        last_id = int(cursor.fetchone()[0])
        cursor.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
        everybody = cursor.fetchone()[0]
        ends = time.monotonic() + PATIENCE
        while True:
            cursor.execute("SELECT pg_snapshot_xmin(pg_current_snapshot()) >= %s::xid8", [everybody])
            if cursor.fetchone()[0]:
                return begin, last_id
            if time.monotonic() > ends:
                raise SealingRefused("The restore waits for a transaction that is still open.", is_breach=False)
            time.sleep(LOOK_EVERY)
