"""The desk's own check of the whole ledger, once a day and whenever somebody asks for
it.

A row of Check says that a check should run, and how far it is. The check runs in a
separate process, because it takes longer than a task may. If that process dies, the row
makes no more progress, and the check is started again. It reads the whole ledger in one
snapshot, and uses the code that checks bundles.
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
# If a check makes no progress for this long, its process has died.
LOST_AFTER = timedelta(minutes=10)
# Seconds between two reports of progress.
_PAUSE = 1.0
# How many findings are stored, the first ones.
_FINDINGS = 100


class CheckRefused(Exception):
    """The check was not started; the message says why. `is_denied`: the actor may not."""

    def __init__(self, sentence: str, *, is_denied: bool) -> None:
        super().__init__(sentence)
        self.is_denied = is_denied


def may_ask(actor: Actor) -> bool:
    """Whether the actor is an auditor or admin of everything, who may start a check."""
    return actor.acting_as(Role.ADMIN, Role.AUDITOR).sees_all()


@transaction.atomic
def ask_for_check(actor: Actor) -> Check:
    """Start a check of the whole ledger because the actor asks for it. Return the
    running check; if there was one already, that one. Raises CheckRefused.
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
    """Start a check if the last one is a day old, or if the process of a check has
    died. If a check waits for a process, enqueue it again. Return the result in a few
    words.
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
    """Start the separate process that runs a check, and return at once."""
    manage = settings.BASE_DIR / "manage.py"
    command = [sys.executable, manage, "audit_check", str(check_id)]
    # The thread that starts the process has to wait for it: the kernel ends the process
    # with its thread (audit_check), and the worker ends threads that are idle.
    threading.Thread(
        target=subprocess.run,
        args=[command],
        kwargs={"stdin": subprocess.DEVNULL, "check": False},
        daemon=True,
        name="ledger-check",
    ).start()
    return f"check {check_id} started"


def run_check(check_id: int, *, alive: Callable[[], None] = lambda: None) -> str:
    """Check the whole ledger for one row of Check. If several processes are started for
    the row, only one of them checks. `alive` is called with each report of progress.
    """
    last = latest_seal()
    this_check = Check.objects.running().filter(pk=check_id)
    up_to = last.number if last else 0
    if not this_check.filter(up_to=None).update(up_to=up_to, moved_at=Now()):
        return "not to be done"
    next_report = time.monotonic() + _PAUSE

    def store_progress(entries: int) -> None:
        this_check.update(entries=entries, moved_at=Now())
        connection.close()

    def report_progress(entries: int) -> None:
        nonlocal next_report
        if time.monotonic() < next_report:
            return
        alive()
        # In a thread, because it has its own database connection: this one is in the
        # transaction in which the check reads.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(store_progress, entries).result()
        next_report = time.monotonic() + _PAUSE

    try:
        report = check_database(report_progress)
    except Exception:
        this_check.update(state=Check.State.ENDED, ended_at=Now())
        raise
    findings = report.findings
    state = Check.State.BROKEN if findings else Check.State.HOLDS
    with transaction.atomic():
        is_stored = this_check.update(
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


# Returns the new check, or the one that is running already.
def _begin(*, asked_by: int | None) -> Check:
    # If two callers begin at once, there is one check: a unique constraint allows only
    # one that runs.
    Check.objects.bulk_create([Check(asked_by=asked_by)], ignore_conflicts=True)
    check = Check.objects.running().get()
    tasks.check.delay_on_commit(check.pk)
    return check


def _end_lost() -> Check | None:
    """End the running check if its process has died, and return it; otherwise None. A
    check that no process has begun is left running.
    """
    begun = Check.objects.running().exclude(up_to=None)
    stalled = begun.filter(moved_at__lt=Now() - LOST_AFTER).first()
    if stalled and Check.objects.running().filter(pk=stalled.pk).update(
        state=Check.State.ENDED, ended_at=Now()
    ):
        log.warning("a check did not end", extra={"check": stalled.pk})
        return stalled
    return None


# --- Checking the database ------------------------------------------------------------


def check_database(progress: Callable[[int], None] | None = None) -> verifier.Report:
    """Check all entries and seals in one snapshot. The ledger is intact if the report
    has no findings. Must not be called within a transaction.

    `progress` is called now and then with the number of entries checked so far.
    """
    report = verifier.Report(progress)
    # The file is read before the snapshot is taken: later lines may be about seals that
    # the snapshot does not have.
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
    """Yield all entries in the sealing order, for the verifier. Report what it cannot
    check: the positions of sealed entries, and the seal under which each is listed.
    """
    seals = Seal.objects.order_by("number").values_list("number", "size").iterator()
    seal, size = next(seals, (0, 0))
    next_position = 0
    for sealed, entry in SealedEntry.objects.with_entries(Entry.objects.with_salts()):
        # A forged position may be very far away.
        end = min(sealed.position, next_position + verifier.MOST_FINDINGS)
        for position in range(next_position, end):
            report.find(f"No entry is listed as sealed at position {position}.")
            yield verifier.Item(None)
        next_position = sealed.position + 1
        while next_position > size and (following := next(seals, None)):
            seal, size = following
        if next_position <= size and sealed.seal != seal:
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
    if next_position > size:
        report.find(
            f"{next_position} entries are listed as sealed, and the last seal covers {size}: seals were removed."
        )
    for entry in Entry.objects.unsealed().with_salts().iterator(AT_ONCE):
        listed = bytes.fromhex(entry.hash) if len(entry.hash) == 64 else None
        yield _item(entry, listed, report)


# Returns an entry in the form that the verifier checks. Also checks its search words,
# which the verifier does not know.
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


# --- Anchors --------------------------------------------------------------------------


def _check_anchors(report: verifier.Report) -> None:
    """Report anchors, and lines of the seals' file, that were removed."""
    newest = Anchor.objects.aggregate(seal=Max("seal"))["seal"] or 0
    last = report.last.number if report.last else 0
    if newest > last:
        report.find(
            f"Seal {newest} was written outside, and the last one here is {last}: the end was deleted."
        )
    # Each anchor names the seal that was written to the same place before it. If that
    # seal has no anchor, the anchor was removed.
    earlier = Anchor.objects.filter(kind=OuterRef("kind"), seal=OuterRef("previous"))
    removed = Anchor.objects.filter(~Exists(earlier), previous__gt=0)
    for anchor in removed.order_by("previous").iterator():
        where = "the seals' file" if anchor.kind == Anchor.Kind.FILE else "Discord"
        report.find(
            f"Seal {anchor.previous} was written to {where} before seal {anchor.seal}, and its anchor was removed."
        )
    # The file is read again, after the anchors were: a line is written before its
    # anchor, so every anchor must have its line by now.
    try:
        heads = heads_in(end_of_file())
    except OSError:
        return
    if not heads:
        return
    index_by_line = {
        (head["number"], head["signature"]): index for index, head in enumerate(heads)
    }
    lowest = min(number for number, _ in index_by_line)
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
    missing = set()
    # Several hosts may have a file each. A pair of seals is about this file if it has
    # the line of one of them; then it must have both.
    for previous, seal in pairs:
        if previous not in signatures or seal not in signatures:
            continue
        first = index_by_line.get((previous, signatures[previous]))
        second = index_by_line.get((seal, signatures[seal]))
        if first is not None and second is None:
            missing.add(seal)
        elif first is None and second:
            missing.add(previous)
    for number in sorted(missing):
        report.find(
            f"Seal {number} was written to the seals' file, and its line is gone."
        )
