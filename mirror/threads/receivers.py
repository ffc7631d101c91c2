"""Hears in the ledger that a letter came or left, and has the threads read again whose drafts wait."""

from collections.abc import Mapping
from typing import Any

from audit.models import Entry
from audit.recording import recorded
from common.enqueue import enqueue
from mirror.models import Message

_NEWS = ("message.received", "message.released", "message.sent")


def on_recorded(entry: Entry, details: Mapping[str, str], about: Any = None, **_: Any) -> None:
    """Tell a worker, once it is committed; whether any draft waits in that thread is asked there."""
    if not isinstance(about, Message) or not about.thread_id or about.mailbox_id is None:
        return
    # Received mail that waits for its own approval has come all the same.
    if entry.action in _NEWS or (entry.action == "message.held" and about.direction == "inbound"):
        # By its public id: of one that has just begun, the row's key is not known here yet.
        enqueue("approvals.tasks.hear_of_letter", str(about.public_id))


def connect() -> None:
    """Listen to the ledger."""
    recorded.connect(on_recorded, dispatch_uid="mirror.threads")
