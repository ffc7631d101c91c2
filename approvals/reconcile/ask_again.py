"""Commands by which a person has MultiMail asked again, about a message or a whole
account.
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


def readable_by(actor: Actor) -> ConnectionQuerySet:
    """The accounts that the actor may have read: as reviewer or admin of any part of
    one.
    """
    return Connection.objects.at_work().visible_to(
        actor.acting_as(Role.REVIEWER, Role.ADMIN)
    )


@transaction.atomic
def look_again(*, message: UUID, actor: Actor) -> None:
    """Record that the actor has MultiMail asked about a message, and enqueue it;
    given-up content gets new tries.

    Raises ActNotAllowed for people who may only read, or do not see the message.
    """
    visible = Message.objects.visible_to(actor).select_related(
        "connection", "mailbox", "revision"
    )
    found = visible.filter(public_id=message).first()
    if found is None or not may_handle(actor, found):
        raise ActNotAllowed(
            "Only a reviewer or an admin of this mailbox can check with MultiMail."
        )
    if found.fetch_tries >= FETCH_TRIES:
        retry_fetch(message=message, actor=actor)
    else:
        fingerprint = found.fingerprint
        record_about("message.asked_about", found, actor=actor, fingerprint=fingerprint)
    decision = found.decisions.resolvable().first()
    if decision is not None:
        tasks.resolve_decision.delay_on_commit(decision.pk)
    elif found.hydrated_at is None and found.is_held:
        tasks.hydrate.delay_on_commit(found.pk)
    elif found.fetch_tries:
        # A newer content could not be stored; only a whole read brings it.
        tasks.read_connection.delay_on_commit(found.connection_id)
    else:
        tasks.ask_about.delay_on_commit(found.pk)


@transaction.atomic
def read_again(*, connection_id: int, actor: Actor) -> Connection:
    """Enqueue a whole read of an account. Raises ActNotAllowed for people who may not."""
    found = readable_by(actor).filter(pk=connection_id).first()
    if found is None:
        raise ActNotAllowed(
            "Only a reviewer or an admin of this connection can start a read."
        )
    record("connection.read_asked", actor=actor, connection=found.pk)
    tasks.read_connection.delay_on_commit(found.pk)
    return found
