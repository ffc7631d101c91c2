"""Starts one Celery worker: `python -m dashboard.worker NAME QUEUES [THREADS]`, else one process of its own for tasks.

Celery's command line would load a shell toolkit into each process; the worker itself needs none of it.
"""

import sys

from dashboard.broker import be_patient
from dashboard.celery import app
from dashboard.stuck import Watch


def main(name: str, queues: str, threads: str = "") -> int:
    """Run the worker until it is told to end, and return its exit status."""
    be_patient()
    # The workers need not know of each other.
    worker = app.Worker(
        hostname=f"{name}@%h",
        queues=queues,
        # What mostly waits for others does so in threads: one slow MultiMail account must not hold up the next.
        pool_cls="threads" if threads else "prefork",
        concurrency=int(threads or 1),
        loglevel="INFO",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    if threads:
        # Only now: Celery has loaded the apps.
        from alerts.deliveries.drain import AT_ONCE
        from approvals.tasks import ROOMS

        ROOMS.threads = int(threads) - (AT_ONCE if "alerts" in queues.split(",") else 0)
        Watch().begin()
    worker.start()
    return int(worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
