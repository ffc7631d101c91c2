"""Commands with which a person has the desk ask MultiMail again: about one message, or
for everything that a connection holds. They enqueue the task that does it.
"""

from uuid import UUID

from django.db import transaction

from approvals import tasks
from approvals.decisions.ruling import may_handle
from audit.recording import record
from common.actors import Actor, Role
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Message
from mirror.models.connections import ConnectionQuerySet
from mirror.recording import record_about
from mirror.sync.rows import retry_fetch
from mirror.terms import FETCH_TRIES


def connections_to_read(actor: Actor) -> ConnectionQuerySet:
    """Return the connections that the actor may have read again: those of which they
    are reviewer or admin, if only of one mailbox.
    """
    return Connection.objects.at_work().visible_to(
        actor.acting_as(Role.REVIEWER, Role.ADMIN)
    )


@transaction.atomic
def check_message(*, message: UUID, actor: Actor) -> None:
    """Enqueue a question to MultiMail about a message, and record in the ledger that
    the actor asked for it. If its content was given up, fetching it is tried again.

    Raises ActNotAllowed if the actor is neither reviewer nor admin of the mailbox.
    """
    visible = Message.objects.visible_to(actor).select_related(
        "connection", "mailbox", "revision"
    )
    visible_message = visible.filter(public_id=message).first()
    if visible_message is None or not may_handle(actor, visible_message):
        raise ActNotAllowed(
            "Only a reviewer or an admin of this mailbox can check with MultiMail."
        )
    if visible_message.fetch_tries >= FETCH_TRIES:
        retry_fetch(message=message, actor=actor)
    else:
        fingerprint = visible_message.fingerprint
        record_about(
            "message.asked_about", visible_message, actor=actor, fingerprint=fingerprint
        )
    decision = visible_message.decisions.resolvable().first()
    if decision is not None:
        tasks.resolve_decision.delay_on_commit(decision.pk)
    elif visible_message.hydrated_at is None and visible_message.is_held:
        tasks.hydrate.delay_on_commit(visible_message.pk)
    elif visible_message.fetch_tries:
        # A newer version could not be stored. Only a whole read fetches it again.
        tasks.read_connection.delay_on_commit(visible_message.connection_id)
    else:
        tasks.ask_about.delay_on_commit(visible_message.pk)


@transaction.atomic
def request_read(*, connection_id: int, actor: Actor) -> Connection:
    """Enqueue a whole read of a connection, and return it. Raises ActNotAllowed if it
    is not among `connections_to_read`.
    """
    connection = connections_to_read(actor).filter(pk=connection_id).first()
    if connection is None:
        raise ActNotAllowed(
            "Only a reviewer or an admin of this connection can start a read."
        )
    record("connection.read_asked", actor=actor, connection=connection.pk)
    tasks.read_connection.delay_on_commit(connection.pk)
    return connection
