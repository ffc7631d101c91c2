"""Gives a worker its place back when Redis does not hear in time that a task has ended. It knows nothing of tasks.

A worker takes no more messages than it may have unacknowledged. Kombu keeps a message among these where acknowledging
it failed; a Redis that stalls for a second would so take the only place of a process for good, without a word. Redis
hands such a message out again when its time is over, which every task here bears.
"""

from typing import Any

from kombu.transport import redis, virtual


class PatientQoS(redis.QoS):
    """Counts a message as done here, whatever Redis knows of it."""

    def ack(self, delivery_tag: Any) -> None:
        """Acknowledge it; where that fails, free its place all the same."""
        try:
            super().ack(delivery_tag)
        except Exception:
            virtual.QoS.ack(self, delivery_tag)
            raise

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        """Give it back; where that fails, free its place all the same."""
        try:
            super().reject(delivery_tag, requeue=requeue)
        except Exception:
            virtual.QoS.ack(self, delivery_tag)
            raise


def be_patient() -> None:
    """Let every channel that this process opens from now on count so."""
    redis.Channel.QoS = PatientQoS
