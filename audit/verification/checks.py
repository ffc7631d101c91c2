"""The desk's own check of the whole ledger: once a day, and whenever somebody asks.

Rows of Check say what is to be done and how far it is. A check runs in a process of its
own, because it takes longer than any task may; a process that dies leaves a row that
makes no progress, and the check is started again. It reads the whole ledger as one
moment saw it, and checks it with the code that checks a bundle.
"""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, Max, OuterRef
from django.db.models.functions import Now

from audit import tasks
from audit.models import AT_ONCE, Anchor, Check, Entry, Seal, SealedEntry
from audit.recording import are_found_by, canonical_entry, record
from audit.sealing import signing
from audit.sealing.anchors import end_of_file, heads_in
from audit.sealing.signing import BROKEN, latest_seal
from audit.verifier import countersign_verify as verifier
from common.actors import Actor, Role
from common.postgres import one_moment

log = logging.getLogger(__name__)

CHECKER = Actor("worker", "checker", "the ledger's check", "worker")
EVERY = timedelta(days=1)
# A check without progress for so long has lost its process.
LOST_AFTER = timedelta(minutes=10)
# Seconds between two reports of progress.
_PAUSE = 1.0
# The most findings that are stored: the first ones show where to look.
_FINDINGS = 100


class CheckRefused(Exception):
    """The check was not started; the sentence says why."""

    def __init__(self, sentence: str, *, is_denied: bool) -> None:
        super().__init__(sentence)
        self.is_denied = is_denied


def may_ask(actor: Actor) -> bool:
    """Whether the actor may have the whole ledger checked: auditors and admins of
    everything.
    """
    return actor.acting_as(Role.ADMIN, Role.AUDITOR).sees_all()


@transaction.atomic
def ask_for_check(actor: Actor) -> Check:
    """Have the whole ledger checked now; return the running check, which may be
    another's.
    """
    if not may_ask(actor):
        raise CheckRefused(
            "Only an auditor or an admin of everything can start a check of the ledger.",
            is_denied=True,
        )
    if latest_seal() is None:
        raise CheckRefused(
            "Nothing is sealed yet, so there is nothing to check against.",
            is_denied=False,
        )
    _end_lost()
    check = _begin(asked_by=int(actor.id))
    record("ledger.check_asked", actor, details={"check": str(check.pk)})
    return check


@transaction.atomic
def begin_daily_check() -> str:
    """Start a check where the last is a day old, again where one was lost, and wake a
    worker where none began.
    """
    ended = _end_lost()
    running = Check.objects.running().first()
    if running is not None:
        if running.up_to is None:
            tasks.check.delay_on_commit(running.pk)
        return f"{running.pk} is under way"
    if ended is not None:
        return f"anew as {_begin(asked_by=ended.asked_by).pk}"
    if latest_seal() is None or Check.objects.finished().since(EVERY).exists():
        return "not yet"
    return f"begun as {_begin(asked_by=None).pk}"


def start_check(check_id: int) -> str:
    """Check in a separate process with the lowest priority; return at once."""
    manage = str(settings.BASE_DIR / "manage.py")
    command = [sys.executable, manage, "audit_check", str(check_id)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    # The parent has to wait for it, or it stays as a zombie.
    threading.Thread(target=process.wait, daemon=True, name="ledger-check").start()
    return f"process {process.pid}"


def run_check(check_id: int, *, alive: Callable[[], None] = lambda: None) -> str:
    """Check the whole ledger for one row, which one caller gets; `alive` is called with
    each report of progress.
    """
    last = latest_seal()
    mine = Check.objects.running().filter(pk=check_id)
    up_to = last.number if last else 0
    if not mine.filter(up_to=None).update(up_to=up_to, moved_at=Now()):
        return "not to be done"
    next_report = time.monotonic() + _PAUSE

    def store_progress(entries: int) -> None:
        mine.update(entries=entries, moved_at=Now())
        connection.close()

    def report_progress(entries: int) -> None:
        nonlocal next_report
        if time.monotonic() < next_report:
            return
        alive()
        # By a thread: its connection is not in the transaction in which the check
        # reads.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(store_progress, entries).result()
        next_report = time.monotonic() + _PAUSE

    try:
        report = check_database(report_progress)
    except Exception:
        mine.update(state=Check.State.ENDED, ended_at=Now())
        raise
    findings = report.findings
    state = Check.State.BROKEN if findings else Check.State.HOLDS
    with transaction.atomic():
        is_stored = mine.update(
            state=state,
            entries=report.entries,
            seals=report.seals,
            findings=findings[:_FINDINGS],
            moved_at=Now(),
            ended_at=Now(),
        )
        if not is_stored:
            return "given up meanwhile"
        details = {
            "check": str(check_id),
            "entries": str(report.entries),
            "seals": str(report.seals),
        }
        if findings:
            number = len(findings)
            log.critical(
                "the ledger does not hold",
                extra={"reason": findings[0], "number": number},
            )
            details |= {"reason": findings[0], "findings": str(number)}
        record(BROKEN if findings else "ledger.checked", CHECKER, details=details)
    return str(state)


def _begin(*, asked_by: int | None) -> Check:
    # Two at once make one: the database allows one that runs.
    Check.objects.bulk_create([Check(asked_by=asked_by)], ignore_conflicts=True)
    check = Check.objects.running().get()
    tasks.check.delay_on_commit(check.pk)
    return check


def _end_lost() -> Check | None:
    """End a check without progress, and return it. One that no process began only wakes
    a worker again.
    """
    still = Check.objects.running().exclude(up_to=None).idle_for(LOST_AFTER).first()
    if still and Check.objects.running().filter(pk=still.pk).update(
        state=Check.State.ENDED, ended_at=Now()
    ):
        log.warning("a check did not end", extra={"check": still.pk})
        return still
    return None


# --- Checking the database ------------------------------------------------------------


def check_database(progress: Callable[[int], None] | None = None) -> verifier.Report:
    """Check all entries and seals in one snapshot; must not be called within a
    transaction.

    It holds where the report has no findings. `progress` is called now and then with
    the number of entries that were checked.
    """
    report = verifier.Report(progress)
    # Read first: what is written there later may be of seals that the snapshot does not
    # see.
    heads = verifier.Heads()
    try:
        data = end_of_file()
        if b"\n" in data:
            heads = verifier.Heads.read(data)
    except FileNotFoundError:
        report.note(
            "There is no seals' file, so deleted newest entries cannot be detected."
        )
    except OSError as error:
        report.note(f"The seals' file cannot be read: {error.strerror}.")
    except verifier.Unreadable as error:
        report.find(f"The seals' file has a line that is not a seal. {error}")
    with one_moment():
        chain = verifier.Chain(report, verifier.Trust(signing.public_keys()))
        rows = Seal.objects.order_by("number").iterator()
        seals = filter(None, (chain.read(seal.as_line().strip()) for seal in rows))
        verifier.check_ledger(
            report, _items(report), seals, heads, excuse_restored=True
        )
        chain.end()
        _check_anchors(report)
    if report.more:
        report.findings.append(f"And {report.more} more.")
    return report


def _items(report: verifier.Report) -> Iterator[verifier.Item]:
    """Yield all entries in the order of the seals; find what only the database can
    have wrong: positions, and the seal that an entry is listed under.
    """
    seals = Seal.objects.order_by("number").values_list("number", "size").iterator()
    seal, size = next(seals, (0, 0))
    taken = 0
    for sealed, entry in SealedEntry.objects.with_entries(Entry.objects.with_salts()):
        for position in range(taken, sealed.position):
            report.find(f"No entry is listed as sealed at position {position}.")
            yield verifier.Item(None)
        taken = sealed.position + 1
        while taken > size and (following := next(seals, None)):
            seal, size = following
        if taken <= size and sealed.seal != seal:
            report.find(
                f"Entry {sealed.entry} is listed under seal {sealed.seal}, and seal {seal} covers it."
            )
        sealed_hash = bytes(sealed.hash)
        if entry is None:
            yield verifier.Item(None, sealed.entry, sealed_hash)
            continue
        if entry.hash != sealed_hash.hex():
            report.find(
                f"Entry {entry.pk} and the list of sealed entries do not have the same hash."
            )
        yield _item(entry, sealed_hash, report)
    if taken > size:
        report.find(
            f"{taken} entries are listed as sealed, and the last seal covers {size}: seals were removed."
        )
    for entry in Entry.objects.unsealed().with_salts().iterator(AT_ONCE):
        listed = bytes.fromhex(entry.hash) if len(entry.hash) == 64 else None
        yield _item(entry, listed, report)


def _item(
    entry: Any, sealed_hash: bytes | None, report: verifier.Report
) -> verifier.Item:
    if entry.details and not are_found_by(entry.words or "", entry.details):
        report.find(
            f"The search words of entry {entry.pk} were changed: a search may not find it."
        )
    salt = None if entry.salt is None else bytes(entry.salt)
    return verifier.Item(
        canonical_entry(entry), entry.pk, sealed_hash, salt, entry.details
    )


# --- Anchors: whether what was written outside the database is still there ------------


def _check_anchors(report: verifier.Report) -> None:
    """Find anchors and lines of the seals' file that were removed."""
    newest = Anchor.objects.aggregate(seal=Max("seal"))["seal"] or 0
    last = report.last.number if report.last else 0
    if newest > last:
        report.find(
            f"Seal {newest} was written outside, and the last one here is {last}: the end was deleted."
        )
    # Each anchor names the seal that was written to the same place before it.
    earlier = Anchor.objects.filter(kind=OuterRef("kind"), seal=OuterRef("previous"))
    removed = Anchor.objects.filter(~Exists(earlier), previous__gt=0)
    for anchor in removed.order_by("previous").iterator():
        is_file = anchor.kind == Anchor.Kind.FILE
        where = "the seals' file" if is_file else "Discord"
        report.find(
            f"Seal {anchor.previous} was written to {where} before seal {anchor.seal}, and its anchor was removed."
        )
    # The file is read after the anchors: a line is written before its anchor.
    try:
        heads = heads_in(end_of_file())
    except OSError:
        return
    if not heads:
        return
    places = {
        (head["number"], head["signature"]): place for place, head in enumerate(heads)
    }
    lowest = min(number for number, _ in places)
    pairs = list(
        Anchor.objects.filter(kind=Anchor.Kind.FILE, seal__gte=lowest).values_list(
            "previous", "seal"
        )
    )
    signatures = dict(
        Seal.objects.filter(
            number__in={number for pair in pairs for number in pair}
        ).values_list("number", "signature")
    )
    gone = set()
    # Several hosts may have a file each: a pair counts where one of the two is in this
    # one.
    for previous, seal in pairs:
        if previous not in signatures or seal not in signatures:
            continue
        first = places.get((previous, signatures[previous]))
        second = places.get((seal, signatures[seal]))
        if first is not None and second is None:
            gone.add(seal)
        elif first is None and second:
            gone.add(previous)
    for number in sorted(gone):
        report.find(
            f"Seal {number} was written to the seals' file, and its line is gone."
        )
