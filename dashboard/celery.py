"""The Celery app, and the periodic jobs that wake its workers. A Celery message only
says that there may be work; database rows say what is due.

A thread of a worker sends the task `tick` for each periodic job once a period, by the
monotonic clock. Several workers may do so: each tick first inserts a unique row for its
job and period (dashboard.tasks).
"""

import logging
import os
import signal
import sys
import threading
import time
from typing import Any

from celery import Celery, bootsteps
from celery.signals import task_postrun, task_prerun, worker_ready
from django.db import close_old_connections

from common.logs import trace_id
from common.tables import table_rows
from common.version import log_start

log = logging.getLogger(__name__)


class PeriodicThread(threading.Thread):
    """Sends the task of each periodic job whenever its period has passed.

    Celery's own beat uses the wall clock: if that is set back by an hour, beat sends
    nothing for an hour.
    """

    def __init__(self) -> None:
        super().__init__(name="periodic", daemon=True)
        self._ending = threading.Event()

    def run(self) -> None:
        """Send until asked to stop. If this fails, end the worker process; the launcher
        then starts it again.
        """
        due = dict.fromkeys(JOBS, time.monotonic())
        try:
            while not self._ending.wait(min(due.values()) - time.monotonic()):
                for job, due_at in due.items():
                    if due_at <= time.monotonic():
                        self._send(job)
                        # The next period begins now, not when this one was due: missed
                        # periods are not made up for.
                        due[job] = time.monotonic() + JOBS[job][0]
        finally:
            if not self._ending.is_set():
                os.kill(os.getpid(), signal.SIGTERM)

    def end(self) -> None:
        self._ending.set()

    def _send(self, job: str) -> None:
        try:
            send_tick(job)
        except Exception as error:  # noqa: BLE001 - of any kind; the next period tries again
            log.warning("no beat", extra={"job": job, "reason": type(error).__name__})


class PeriodicStep(bootsteps.StartStopStep):
    """Starts PeriodicThread in a worker, if BEAT is set, and lists the host. A separate
    process for it would need as much memory as a worker.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        self.thread: PeriodicThread | None = None

    def start(self, worker: Any) -> None:
        # Imported here, because it needs the apps.
        from dashboard.hosts import Listing

        if "BEAT" in os.environ:
            self.thread = PeriodicThread()
            self.thread.start()
        self._listing = Listing()
        self._listing.start()

    def stop(self, worker: Any) -> None:
        if self.thread:
            self.thread.end()
        self._listing.end()


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

app = Celery("countersign")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# Otherwise Celery would know the app only in this thread, and requests and tasks run in
# others.
app.set_default()
# Celery would close the thread's database connection before and after each task. That
# is not needed: Django closes unusable ones (_close_broken_connections), and checks
# them without a round trip (common.postgres).
app.conf["CELERY_DB_REUSE_MAX"] = sys.maxsize
# The periodic jobs: task, period in seconds, queue, and the product whose beat runs it.
# The tasks are given by name, because nothing may import the gateway.
JOBS = {
    job: (int(seconds), queue)
    for job, seconds, queue, product in table_rows("""
approvals.tasks.sweep | 5 | sync | dashboard
approvals.tasks.reconcile_all | 30 | sync | dashboard
policy.tasks.read_all_refusals | 300 | sync | dashboard
approvals.tasks.count_unsigned | 60 | sync | dashboard
mirror.tasks.read_accounts | 300 | sync | dashboard
mirror.tasks.forget | 3600 | sync | dashboard
dashboard.tasks.probe | 20 | sync | dashboard
audit.tasks.seal | 10 | sync | dashboard
audit.tasks.check_daily | 600 | sync | dashboard
audit.tasks.forget_details | 3600 | sync | dashboard
alerts.tasks.sweep | 5 | alerts | dashboard
notices.tasks.summarise | 300 | alerts | dashboard
notices.tasks.forget | 3600 | alerts | dashboard
gateway.tasks.sweep | 5 | gateway | gateway
gateway.tasks.note_waiting | 60 | gateway | gateway
""")
    if os.environ.get("BEAT", "both") in (product, "both")
}


def send_tick(job: str) -> None:
    """Send the task that runs a periodic job, unless it ran in this period."""
    seconds, queue = JOBS[job]
    # No expiry, because the clocks of hosts differ. If ticks pile up, only one in each
    # period runs its job.
    app.send_task("dashboard.tasks.tick", args=[job, seconds], queue=queue)


@task_prerun.connect
@task_postrun.connect
def _close_broken_connections(**_: Any) -> None:
    close_old_connections()


@task_prerun.connect
def _begin_trace(task_id: str, **_: Any) -> None:
    # A trace id for this run, so that its ledger entries and log lines can be found.
    trace_id.set(task_id.replace("-", "")[:16])


@task_postrun.connect
def _end_trace(**_: Any) -> None:
    trace_id.set("")


@worker_ready.connect
def _catch_up(**_: Any) -> None:
    log_start()
    # Run every job once at the start, instead of after its first period.
    for job in JOBS:
        send_tick(job)
    if "alerts.tasks.sweep" in JOBS:
        # Its tick may count as done in this period by a worker that was killed.
        app.send_task("alerts.tasks.take_up", queue="alerts")


app.steps["worker"].add(PeriodicStep)
