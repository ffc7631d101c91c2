"""The desk's own check of the whole ledger, once a day and whenever somebody asks for
it.

A row of Check says that a check should run, and how far it is. The check runs in a
separate process, because it takes longer than a task may. If that process dies, the row
makes no more progress, and the check is started again. It reads the whole ledger in one
snapshot, and uses the code that checks bundles.
"""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DataError, connection, transaction
from django.db.models import Exists, Max, OuterRef
from django.db.models.functions import Now

from audit import tasks
from audit.models import AT_ONCE, Anchor, Check, Entry, EntryDetail, Seal, SealedEntry
from audit.recording import are_found_by, canonical_entry, is_authentic, record
from audit.sealing import signing
from audit.sealing.anchors import PATIENCE, anchors_here, end_of_file, newest_heads
from audit.sealing.signing import BROKEN, latest_seal
from audit.verification.bundle import details_line
from audit.verifier import countersign_verify as verifier
from common.actors import Actor, Role
from common.errors import SentenceError
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


class CheckRefused(SentenceError):
    """The check was not started."""


class CheckNotAllowed(CheckRefused):
    """The actor may not start a check."""

    status = 403


def may_ask(actor: Actor) -> bool:
    """Whether the actor is an auditor or admin of everything, who may start a check."""
    return actor.acting_as(Role.ADMIN, Role.AUDITOR).sees_all()


@transaction.atomic
def ask_for_check(actor: Actor) -> None:
    """Start a check of the whole ledger because the actor asks for it, unless one is
    running. Raises CheckRefused.
    """
    if not may_ask(actor):
        raise CheckNotAllowed(
            "Only an auditor or an admin of everything can start a check of the ledger."
        )
    if not latest_seal():
        raise CheckRefused(
            "Nothing is sealed yet, so there is nothing to check against."
        )
    _end_lost()
    check = _begin(asked_by=int(actor.id))
    record("ledger.check_asked", actor, details={"check": str(check.pk)})


@transaction.atomic
def begin_daily_check() -> str:
    """Start a check if the last one is a day old, or if the process of a check has
    died. If a check waits for a process, enqueue it again. Return the result in a few
    words.
    """
    ended = _end_lost()
    running = Check.objects.running().first()
    if running:
        if running.up_to is None:
            tasks.check.delay_on_commit(running.pk)
        return f"{running.pk} is under way"
    if ended:
        return f"anew as {_begin(asked_by=ended.asked_by).pk}"
    recent = Check.objects.finished().filter(started_at__gt=Now() - EVERY)
    if not latest_seal() or recent.exists():
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
    begun_at = time.time()
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
        try:
            verifier.check_ledger(
                report, _items(report), seals, heads, excuse_restored=True
            )
            chain.end()
            _check_anchors(report, begun_at)
            _check_verdicts(report)
        except DataError as error:
            report.find(f"The ledger has a row that cannot be read: {error}.")
    if report.more:
        report.findings.append(f"And {report.more} more.")
    return report


def _items(report: verifier.Report) -> Iterator[verifier.Item]:
    """Yield all entries in the sealing order, for the verifier. Report what it cannot
    check: the positions of sealed entries, and the seal under which each is listed; and
    who wrote those that are not sealed.
    """
    last = latest_seal()
    whole = last.size if last else 0
    seals = Seal.objects.order_by("number").values_list("number", "size").iterator()
    seal, size = next(seals, (0, 0))
    next_position = 0
    for sealed, entry in SealedEntry.objects.with_entries(Entry.objects.with_salts()):
        if sealed.position != next_position:
            report.find(f"No entry is listed as sealed at position {next_position}.")
        next_position = sealed.position + 1
        while next_position > size and (following := next(seals, None)):
            seal, size = following
        if next_position <= size and sealed.seal != seal:
            report.find(
                f"Entry {sealed.entry} is listed under seal {sealed.seal}, and seal {seal} covers it."
            )
        sealed_hash = bytes(sealed.hash).hex()
        if entry and entry.hash != sealed_hash:
            report.find(
                f"Entry {entry.pk} and the list of sealed entries do not have the same hash."
            )
        yield _item(sealed.entry, sealed_hash, entry, report)
    if next_position != whole:
        report.find(
            f"{next_position} entries are listed as sealed, and the last seal covers {whole}."
        )
    for entry in Entry.objects.unsealed().with_salts().iterator(AT_ONCE):
        if not is_authentic(entry):
            report.find(
                f"Entry {entry.pk} was not written by the desk: it is not sealed, and has no code that fits."
            )
        yield _item(entry.pk, entry.hash, entry, report)
    same = Entry.objects.filter(mac=OuterRef("mac")).exclude(pk=OuterRef("pk"))
    for entry in Entry.objects.unsealed().filter(Exists(same)):
        report.find(f"Entry {entry.pk} is not sealed, and repeats another.")
    entries = Entry.objects.filter(pk=OuterRef("pk"))
    for detail in EntryDetail.objects.filter(~Exists(entries)):
        report.find(f"Entry {detail.pk} was removed: its details are still there.")


# Returns an entry in the form that the verifier checks. Also checks its search words,
# which the verifier does not know.
def _item(
    number: int, sealed_hash: str, entry: Any, report: verifier.Report
) -> verifier.Item:
    try:
        item = verifier.listed(details_line(number, sealed_hash, entry))
    except ValueError as error:
        report.find(f"What is stored beside entry {number} cannot be read: {error}.")
        item = verifier.Item(None, number)
    if not entry:
        return item
    if item.fields and not are_found_by(entry.words or "", item.fields):
        report.find(
            f"The search words of entry {number} were changed: a search may not find it."
        )
    return item._replace(line=canonical_entry(entry))


def _check_verdicts(report: verifier.Report) -> None:
    """Report decisions whose beginning is missing: an entry that is prevented from being
    written leaves no gap between the seals.
    """
    earlier = Entry.objects.filter(message=OuterRef("message"), pk__lt=OuterRef("pk"))
    verdicts = earlier.of_action("verdict.given").filter(actor_id=OuterRef("actor_id"))
    recorded = Entry.objects.of_action("decision.recorded")
    for entry in recorded.filter(~Exists(verdicts), actor_kind="person"):
        report.find(
            f"Entry {entry.pk} records a person's decision, and no verdict of that person is before it."
        )
    applied = Entry.objects.of_action("decision.applied").exclude(message=None)
    for entry in applied.filter(~Exists(earlier.of_action("decision.recorded"))):
        report.find(
            f"Entry {entry.pk} says that a decision took effect, and none is recorded before it."
        )


# --- Anchors --------------------------------------------------------------------------


def _check_anchors(report: verifier.Report, begun_at: float) -> None:
    """Compare the anchors with the seals and with the lines of the seals' file, both in
    both directions. `begun_at` is when the check began, by this host's clock.
    """
    keys = signing.known_keys()
    for anchor in Anchor.objects.order_by("seal").iterator():
        if anchor.key not in keys or not signing.is_signed(anchor):
            report.find(
                f"The anchor of seal {anchor.seal} in the seals' file was edited or put in."
            )
    seals = Seal.objects.filter(
        number=OuterRef("seal"), signature=OuterRef("seal_signature")
    )
    for anchor in Anchor.objects.filter(~Exists(seals)).order_by("seal"):
        report.find(
            f"Seal {anchor.seal} was written to the seals' file, and is not here: it was altered, or the end deleted."
        )
    # Each anchor names the seal that was written to the same place before it. If that
    # seal has no anchor, the anchor was removed.
    earlier = Anchor.objects.filter(kind=OuterRef("kind"), seal=OuterRef("previous"))
    removed = Anchor.objects.filter(~Exists(earlier), previous__gt=0)
    for anchor in removed.order_by("previous").iterator():
        report.find(
            f"Seal {anchor.previous} was written to the seals' file before seal {anchor.seal}, and its anchor is gone."
        )
    # The file is read again, after the anchors were: a line is written before its
    # anchor, so every anchor must have its line by now.
    try:
        heads = list(newest_heads())
        age = begun_at - os.stat(settings.SEAL_FILE).st_mtime
    except OSError:
        heads = []
    rows = Seal.objects.filter(number__in={head.number for head in heads})
    stored = set(rows.values_list("number", "signature"))
    lines = [one.number for one in heads if (one.number, one.signature) in stored]
    known = set(lines)
    if not lines and anchors_here().exists():
        report.find("The seals' file has no line of the seals that were written to it.")
    if lines != sorted(known, reverse=True):
        report.find("Lines of the seals' file are out of order, or there twice.")
    # Earlier lines may have been archived, and several hosts may have a file each. A
    # pair of seals is about this file if it has the line of one of them.
    in_file = Anchor.objects.filter(kind=Anchor.Kind.FILE)
    pairs = in_file.filter(previous__gt=0, seal__gt=min(lines, default=0))
    gone: set[int] = set()
    for pair in pairs.values_list("previous", "seal"):
        if not known.isdisjoint(pair):
            gone |= set(pair) - known
    for number in sorted(gone):
        report.find(
            f"Seal {number} was written to the seals' file, and its line is gone."
        )
    newest = in_file.aggregate(seal=Max("seal"))["seal"] or 0
    if lines and age > PATIENCE.total_seconds():
        # These lines have their anchors: nobody was about to store them.
        newest = max(newest, lines[0])
    unknown = Seal.objects.filter(
        ~Exists(in_file.filter(seal=OuterRef("number"))), number__lte=newest
    )
    for seal in unknown.order_by("number"):
        report.find(
            f"Seal {seal.number} has no anchor for the seals' file: it was removed."
        )
