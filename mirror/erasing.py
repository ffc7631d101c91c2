"""Removes what the mirror keeps of one message beside its record, when somebody asks for erasure.

What was decided on stays: its versions, verdicts and comments. Without them nobody could say what was approved.
"""

from dataclasses import dataclass

from mirror.errors import ActNotAllowed
from mirror.models import AttachedFile, Message, Thread, WebhookEvent
from mirror.querysets.terms import DONE
from mirror.states import MessageState


@dataclass(frozen=True)
class Copies:
    """How many were removed."""

    files: int
    webhooks: int
    threads: int


def remove_copies(message: Message) -> Copies:
    """Remove the bytes of its files, its webhooks as they came, and its thread, in the caller's transaction.

    The message must be locked. Raises ActNotAllowed while it waits or is on its way: whoever decides must see it all.
    """
    if message.state not in DONE or message.decisions.to_settle().exists():
        raise ActNotAllowed("This message is not past the desk yet: decide it, or wait until it is sent or rejected.")
    files = AttachedFile.objects.filter(message=message, content__isnull=False).drop_bytes()
    events = WebhookEvent.objects.filter(connection=message.connection_id, email_id=message.upstream_id)
    webhooks, _ = events.delete()
    return Copies(files, webhooks, _remove_thread(message))


def _remove_thread(message: Message) -> int:
    """A conversation that a draft still waits in is read by whoever decides that one."""
    if not message.thread_id:
        return 0
    waits = Message.objects.filter(
        state=MessageState.HELD, thread_id=message.thread_id, connection=message.connection_id
    )
    found = Thread.objects.filter(upstream_id=message.thread_id, mailbox=message.mailbox_id)
    if waits.exists() or not found.exists():
        return 0
    found.delete()
    return 1
