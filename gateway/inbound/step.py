"""Runs the listener in the worker that the process table chooses (INBOUND), in a thread
beside its tasks.

A process of its own would cost as much memory as a worker.
"""

import os
import signal
from typing import Any

from celery import bootsteps
from django.conf import settings


class InboundStep(bootsteps.StartStopStep):
    """Starts after the pool; its death ends the worker."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        self.listener: Any = None

    def start(self, worker: Any) -> None:
        """Begin to listen. A port in use ends the worker, with the reason in its log."""
        # Imported late: it needs the apps to be loaded.
        from gateway.inbound.smtp_server import Listener

        self.listener = Listener(
            host=settings.INBOUND_HOST,
            port=settings.INBOUND_PORT,
            # The supervisor starts another worker; a worker without its listener would
            # go unnoticed.
            died=lambda: os.kill(os.getpid(), signal.SIGTERM),
        )
        self.listener.start()

    def stop(self, worker: Any) -> None:
        """End with the worker."""
        if self.listener is not None:
            self.listener.stop()
