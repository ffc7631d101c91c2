"""Tells a worker, after commit, that a row wants attention; without a broker the sweep finds the row."""

from datetime import datetime

from approvals.models import Decision
from common.enqueue import enqueue
from mirror.models import Connection, Message
from mirror.states import MessageState


def hydrate(message: Message) -> None:
    """The content of this message should be fetched."""
    enqueue("approvals.tasks.hydrate", message.pk)


def execute(decision: Decision, *, now: datetime) -> None:
    """This decision should be carried out when its undo window is over, at once where there is none."""
    # Both by the database's clock: by this host's, which may be off, it would come too late or for nothing.
    window = (decision.due_at - decision.changed_at).total_seconds()
    enqueue("approvals.tasks.execute_decision", decision.pk, countdown=window + 0.05 if window > 0 else None)


def execute_now(decision: Decision) -> None:
    """This decision should have been carried out; whether it may be is asked there."""
    enqueue("approvals.tasks.execute_decision", decision.pk)


def resolve(decision: Decision) -> None:
    """What became of this decision should be found out."""
    enqueue("approvals.tasks.resolve_decision", decision.pk)


def ask_about(message: Message) -> None:
    """MultiMail should be asked what became of this message."""
    enqueue("approvals.tasks.ask_about", message.pk)


def freshen_thread(message: Message) -> None:
    """Somebody has this message on screen: its thread should be read if that was not done a moment ago."""
    if message.state == "held" and message.thread_id:
        enqueue("approvals.tasks.freshen_thread", message.pk)


def read_connection(connection: Connection) -> None:
    """Everything that this connection holds should be read."""
    enqueue("approvals.tasks.read_connection", connection.pk)


def read_refusals(connection: Connection) -> None:
    """The gate of this connection refused something."""
    enqueue("approvals.tasks.read_refusals", connection.pk)


def read_mailboxes(connection: Connection) -> None:
    """The mailboxes of this connection should be read."""
    enqueue("approvals.tasks.read_mailboxes", connection.pk)


def read_again(message: Message) -> None:
    """MultiMail holds another content of this message than the desk knows: the new version should be read at once."""
    if message.connection.is_our_gateway:
        ask_about(message)
    else:
        # Only the list shows contents there.
        read_connection(message.connection)


def look(message: Message) -> None:
    """A person wants to know how this message is: its content, what became of its decision, or what became of it."""
    decision = message.decisions.resolvable().first()
    if decision is not None:
        resolve(decision)
    elif message.hydrated_at is None and message.state == MessageState.HELD:
        hydrate(message)
    elif message.fetch_tries:
        # It has a newer content that could not be stored: only a whole read brings that.
        read_connection(message.connection)
    else:
        ask_about(message)
