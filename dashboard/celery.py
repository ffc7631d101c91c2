"""The Celery app and the periodic jobs. Its messages are only wake-ups; database rows
decide what is due.

Any number of senders may run: each tick first inserts a unique (job, period) row
(dashboard.tasks).
"""

import os
import sys
from typing import Any

from celery import Celery
from celery.signals import task_postrun, task_prerun, worker_ready
from django.db import close_old_connections

from common.logs import trace_id
from dashboard.periodic import PeriodicStep

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

app = Celery("countersign")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# Celery keeps the current app for each thread; requests and tasks run in others than
# this one.
app.set_default()
# Celery would close each thread's database connection before and after each task;
# Django's own rule for kept connections is enough, and its look at them costs no round
# trip (common.postgres).
app.conf["CELERY_DB_REUSE_MAX"] = sys.maxsize
# The periodic jobs of the desk and of the gateway: (task, period in seconds, queue).
# Named by text, because nothing may import the gateway.
_JOBS = {
    "dashboard": [
        ("approvals.tasks.sweep", 5, "sync"),
        ("approvals.tasks.reconcile_all", 30, "sync"),
        ("mirror.tasks.read_all_suppressed", 300, "sync"),
        ("policy.tasks.read_all_refusals", 300, "sync"),
        ("mirror.tasks.read_all_contacts", 300, "sync"),
        ("policy.tasks.count_hits", 60, "sync"),
        ("approvals.tasks.count_unsigned", 60, "sync"),
        ("mirror.tasks.read_all_mailboxes", 600, "sync"),
        ("mirror.tasks.forget", 3600, "sync"),
        ("audit.tasks.seal", 5, "sync"),
        ("audit.tasks.check_daily", 600, "sync"),
        ("audit.tasks.forget_details", 3600, "sync"),
        ("alerts.tasks.sweep", 5, "alerts"),
        ("alerts.tasks.witness", 60, "alerts"),
    ],
    "gateway": [("gateway.tasks.sweep", 5, "gateway")],
}
app.conf.beat_schedule = {
    job: {
        "task": "dashboard.tasks.tick",
        "schedule": float(seconds),
        "args": [job, seconds],
        # No expiry: clocks of hosts differ, and of ticks that pile up only one per
        # period runs.
        "options": {"queue": queue},
    }
    for product, jobs in _JOBS.items()
    if os.environ.get("BEAT", "both") in (product, "both")
    for job, seconds, queue in jobs
}


@task_prerun.connect
@task_postrun.connect
def _close_broken_connections(**_: Any) -> None:
    close_old_connections()


@task_prerun.connect
def _begin_trace(task_id: str = "", **_: Any) -> None:
    # A trace id for this run, so that its ledger entries and log lines can be found.
    trace_id.set(task_id.replace("-", "")[:16])


@task_postrun.connect
def _end_trace(**_: Any) -> None:
    trace_id.set("")


@worker_ready.connect
def _catch_up(**_: Any) -> None:
    # Run every job once at the start, instead of after its first period.
    for entry in app.conf.beat_schedule.values():
        app.send_task(entry["task"], args=entry["args"], **entry["options"])


app.steps["worker"].add(PeriodicStep)
