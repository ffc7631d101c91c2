"""The desk's own check of the whole ledger: once a day, and whenever somebody asks.

Rows of Check say what is to be done and how far it is. A check runs in a process of its
own, because it takes longer than any task may; a process that dies leaves a row that
makes no progress, and the check is started again.
"""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now

from audit import tasks
from audit.models import Check
from audit.recording import record
from audit.sealing.preconditions import BROKEN, latest_seal
from audit.verification.database import check_database
from audit.verifier.countersign_verify import Report
from common.actors import Actor, Role

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
    record("ledger.check_asked", actor=actor, details={"check": str(check.pk)})
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
    mine = Check.objects.running().filter(pk=check_id, up_to=None)
    if not mine.update(up_to=last.number if last else 0, moved_at=Now()):
        return "not to be done"
    next_report = time.monotonic() + _PAUSE

    def store_progress(entries: int) -> None:
        running = Check.objects.running().filter(pk=check_id)
        running.update(entries=entries, moved_at=Now())
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
        Check.objects.running().filter(pk=check_id).update(
            state=Check.State.ENDED, ended_at=Now()
        )
        raise
    return _settle(check_id, report)


@transaction.atomic
def _settle(check_id: int, report: Report) -> str:
    """Store what was found, unless the check was given up meanwhile."""
    findings = report.findings
    state = Check.State.BROKEN if findings else Check.State.HOLDS
    is_stored = (
        Check.objects.running()
        .filter(pk=check_id)
        .update(
            state=state,
            entries=report.entries,
            seals=report.seals,
            findings=findings[:_FINDINGS],
            moved_at=Now(),
            ended_at=Now(),
        )
    )
    if not is_stored:
        return "given up meanwhile"
    details = {
        "check": str(check_id),
        "entries": str(report.entries),
        "seals": str(report.seals),
    }
    if not findings:
        record("ledger.checked", actor=CHECKER, details=details)
        return str(state)
    number = len(findings)
    log.critical(
        "the ledger does not hold", extra={"reason": findings[0], "number": number}
    )
    details |= {"reason": findings[0], "findings": str(number)}
    record(BROKEN, actor=CHECKER, details=details)
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
