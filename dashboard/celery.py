"""The Celery app and the beat table. Beat only nudges; what is due is decided by rows.

Any number of beats may run: each tick first inserts a unique (job, period) row (dashboard.ticks).
"""

import gc
import os
import signal
import threading
from typing import Any

from celery import Celery, bootsteps
from celery.beat import EmbeddedService
from celery.signals import worker_before_create_process, worker_process_init, worker_ready

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
        ("approvals.tasks.forget", 3600, "sync"),
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
    if os.environ.get("BEAT", "both") in (product, "both")
    for job, seconds, queue in jobs
}


@worker_before_create_process.connect
def _share_memory(**_: Any) -> None:
    # What is loaded by now stays: keeping the collector off it lets pool children share these pages.
    gc.collect()
    gc.freeze()


@worker_process_init.connect
def _end_with_the_worker(**_: Any) -> None:
    # Pool children would outlive a killed worker and go on taking work.
    die_with_parent(signal.SIGKILL)


@worker_ready.connect
def _catch_up(**_: Any) -> None:
    # What was missed while nothing ran should not wait for the beat's first round.
    for entry in app.conf.beat_schedule.values():
        app.send_task(entry["task"], args=entry["args"], **entry["options"])


class ThreadedBeat(bootsteps.StartStopStep):
    """Runs beat in a thread of the worker where BEAT names a product, and ends the worker when that thread has died.

    Celery's own embedded beat is one more process of the worker's size, and nobody notices when it is killed.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        self.enabled = "BEAT" in os.environ
        self.beat: Any = None

    def start(self, worker: Any) -> None:
        self.beat = EmbeddedService(worker.app, thread=True)
        self.beat.start()
        threading.Thread(target=self._watch, args=[self.beat], daemon=True, name="beat-watch").start()

    def stop(self, worker: Any) -> None:
        beat, self.beat = self.beat, None
        beat.stop()

    def _watch(self, beat: Any) -> None:
        beat.join()
        if self.beat is beat:
            os.kill(os.getpid(), signal.SIGTERM)


app.steps["worker"].add(ThreadedBeat)
