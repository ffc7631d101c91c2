"""Commands with which a person checks one message, or all messages of a connection,
with MultiMail now. They enqueue the task that does it.
"""

from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from approvals import tasks
from approvals.decisions.ruling import may_handle
from common.actors import Actor, Role
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Message
from mirror.models.connections import ConnectionQuerySet
from mirror.recording import record_about, record_of_connection


def connections_to_read(actor: Actor) -> ConnectionQuerySet:
    """Return the connections that the actor may have read now: those where they are
    reviewer or admin of the connection or of any of its mailboxes.
    """
    return Connection.objects.at_work().visible_to(
        actor.acting_as(Role.REVIEWER, Role.ADMIN)
    )


@transaction.atomic
def check_message(*, message: UUID, actor: Actor) -> None:
    """Enqueue the task that checks a message with MultiMail, and record in the ledger
    that the actor asked for it. If the desk had given up fetching its content, it tries
    again.

    Raises ActNotAllowed if the actor is neither reviewer nor admin of the mailbox.
    """
    visible_message = (
        Message.objects.visible_to(actor)
        .select_related("connection", "mailbox", "revision")
        .filter(public_id=message)
        .first()
    )
    if visible_message is None or not may_handle(actor, visible_message):
        raise ActNotAllowed(
            "Only a reviewer or an admin of this mailbox can check with MultiMail."
        )
    action = "message.asked_about"
    if visible_message.is_given_up:
        action = "message.fetch_again"
        visible_message.row.update(fetch_tries=0)
    put_off = visible_message.row.filter(read_after__gt=Now())
    put_off.update(read_after=Now())
    record_about(
        action, visible_message, actor, fingerprint=visible_message.fingerprint
    )
    decision = visible_message.decisions.resolvable().first()
    if decision is not None:
        tasks.resolve_decision.delay_on_commit(decision.pk)
    elif visible_message.hydrated_at is None and visible_message.is_held:
        tasks.hydrate.delay_on_commit(visible_message.pk)
    elif visible_message.fetch_tries:
        # There were failed tries: a newer version could not be stored. Only a whole
        # read fetches it again.
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
    record_of_connection("connection.read_asked", connection, actor)
    # Have it read again which doors outside this desk are open, too.
    connection.row.update(surveyed_at=None, rest_until=None)
    tasks.read_connection.delay_on_commit(connection.pk)
    return connection
