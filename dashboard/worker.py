"""Starts one Celery worker: `python -m dashboard.worker NAME QUEUES`.

Celery's command line would load a shell toolkit into each process; the worker itself needs none of it.
"""

import sys

from dashboard.celery import app


def main(name: str, queues: str) -> int:
    """Run the worker until it is told to end, and return its exit status."""
    # The workers need not know of each other.
    worker = app.Worker(
        hostname=f"{name}@%h",
        queues=queues,
        pool_cls="prefork",
        concurrency=1,
        loglevel="INFO",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
