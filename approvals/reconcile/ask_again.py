"""Commands by which a person has MultiMail asked again, about a message or a whole account."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db import transaction

from approvals.models import Decision
from approvals.recording import record_about
from audit.recording import record
from mirror.errors import ActNotAllowed
from mirror.models import Connection, Message
from mirror.querysets import FETCH_TRIES, ConnectionQuerySet
from mirror.sync.rows import retry_fetch
from people.actors import Actor, Role

_ROLES = (Role.REVIEWER, Role.ADMIN)


def may_look(actor: Actor, message: Message) -> bool:
    """Whether the actor may have MultiMail asked about this message: whoever decides or configures there."""
    return any(actor.is_a(role, connection=message.connection_id, mailbox=message.mailbox_id) for role in _ROLES)


def readable_by(actor: Actor) -> ConnectionQuerySet:
    """The accounts that the actor may have read: whoever decides or configures in a part of one."""
    return Connection.objects.at_work().visible_to(actor.acting_as(*_ROLES))


@transaction.atomic
def look_again(*, message: UUID, actor: Actor, now: datetime) -> Message:
    """Note that the actor has MultiMail asked about a message; one that was left alone gets new tries.

    Raises ActNotAllowed for whoever may only read, or does not see the message.
    """
    visible = Message.objects.visible_to(actor).select_related("connection", "mailbox", "revision")
    found = visible.filter(public_id=message).first()
    if found is None or not may_look(actor, found):
        raise ActNotAllowed("Only a reviewer or an admin of this mailbox can have MultiMail asked.")
    if found.fetch_tries >= FETCH_TRIES:
        return retry_fetch(message=message, actor=actor, now=now)
    fingerprint = found.revision.fingerprint if found.revision else ""
    record_about("message.asked_about", found, actor=actor, fingerprint=fingerprint)
    return found


@transaction.atomic
def carry_out_now(decisions: Iterable[Decision], *, actor: Actor) -> list[Decision]:
    """Note of which of these the actor wants that they are tried at once, and return them: those they may look after.

    Whether one still may go is asked where it is carried out.
    """
    theirs = [one for one in decisions if may_look(actor, one.message)]
    for one in theirs:
        record_about(
            "decision.hurried",
            one.message,
            actor=actor,
            fingerprint=one.revision.fingerprint,
            details={"outcome": one.outcome, "reference": one.reference},
        )
    return theirs


@transaction.atomic
def read_again(*, connection_id: int, actor: Actor) -> Connection:
    """Note that the actor has a whole account read now. Raises ActNotAllowed for whoever may not."""
    found = readable_by(actor).filter(pk=connection_id).first()
    if found is None:
        raise ActNotAllowed("Only a reviewer or an admin of this connection can have it read.")
    record("connection.read_asked", actor=actor, connection=found.pk)
    return found
