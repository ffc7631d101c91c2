"""The Celery app and the beat table. Beat only nudges; what is due is decided by rows.

Any number of beats may run: each tick first inserts a unique (job, period) row (dashboard.ticks).
"""

import os
import signal
import threading
import time
from typing import Any

from celery import Celery, bootsteps
from celery.signals import beat_embedded_init, worker_process_init, worker_ready

from dashboard.launch.pdeathsig import die_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

app = Celery("countersign")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_schedule_filename = os.path.join(os.environ.get("DATA_DIR", "var"), "beat-schedule")
# What beats for the desk and for the gateway: (task, period in seconds, queue). Named by text, because nothing may
# import the gateway.
_JOBS = {
    "dashboard": [
        ("approvals.tasks.sweep", 5, "sync"),
        ("approvals.tasks.reconcile_all", 30, "sync"),
        ("alerts.tasks.sweep", 5, "alerts"),
    ],
    "gateway": [("gateway.tasks.sweep", 5, "gateway")],
}
app.conf.beat_schedule = {
    job: {
        "task": "dashboard.tasks.tick",
        "schedule": float(seconds),
        "args": [job, seconds],
        # A tick that waited longer than its period is stale: the next one does the same.
        "options": {"queue": queue, "expires": seconds * 2},
    }
    for product, jobs in _JOBS.items()
    if os.environ.get("SERVE", "both") in (product, "both")
    for job, seconds, queue in jobs
}


@worker_process_init.connect
@beat_embedded_init.connect
def _end_with_the_worker(**_: Any) -> None:
    # Pool children and the embedded beat would outlive a killed worker and go on taking work.
    die_with_parent(signal.SIGKILL)


@worker_ready.connect
def _catch_up(**_: Any) -> None:
    # What was missed while nothing ran should not wait for the beat's first round.
    for entry in app.conf.beat_schedule.values():
        app.send_task(entry["task"], args=entry["args"], **entry["options"])


class BeatWatch(bootsteps.StartStopStep):  # type: ignore[misc]
    """Ends the worker when its embedded beat has died, so that the launcher starts both again."""

    requires = {"celery.worker.components:Beat"}

    def start(self, worker: Any) -> None:
        beat = getattr(worker, "beat", None)
        if beat is not None:
            threading.Thread(target=self._watch, args=[beat], daemon=True, name="beat-watch").start()

    def _watch(self, beat: Any) -> None:
        while beat.is_alive():
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)


app.steps["worker"].add(BeatWatch)
