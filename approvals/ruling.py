"""Asks policy about one message and one person: the facts are gathered here, the rules live there."""

from datetime import datetime
from uuid import UUID

from approvals.errors import VerdictNotAllowed
from approvals.models import EnclosedFile, Message
from approvals.showing import named
from approvals.states import MessageState
from people.actors import Actor, Role
from policy.models import KillSwitch
from policy.ruling import Facts, Ruling, rule


def ruling_for(message: Message, *, actor: Actor, now: datetime) -> Ruling:
    """Return what the rules say about this person deciding this message.

    Where it decides anything, `now` is the database's clock: the clock of one host must not expire a message early.
    """
    stop = stop_of(message)
    return rule(
        Facts(
            is_held=message.state == MessageState.HELD,
            is_fetched=message.hydrated_at is not None,
            is_reviewer=is_reviewer(actor, message),
            is_expired=message.expires_at is not None and message.expires_at <= now,
            mailbox=str(message.mailbox or ""),
            files_that_differ=_files_that_differ(message),
            stopped_by=f"{stop.pulled_by} ({stop.reason})" if stop else "",
        )
    )


def _files_that_differ(message: Message) -> tuple[str, ...]:
    if message.revision is None or not message.revision.content.get("attachments"):
        return ()
    files = EnclosedFile.objects.filter(revision=message.revision).differing().in_place()
    return tuple(named(name)[:80] for name in files.values_list("name", flat=True)[:3])


def is_reviewer(actor: Actor, message: Message) -> bool:
    """Whether the actor is a reviewer of the message's mailbox."""
    return actor.is_a(Role.REVIEWER, connection=message.connection_id, mailbox=message.mailbox_id)


def lock_visible(message: UUID, *, actor: Actor) -> Message:
    """Return a message that the actor may see, locked for the rest of the transaction."""
    # Alone: what is joined would be as it was before the wait for the lock, or missing where the message points to
    # another content by now. Without the key: rows that others add about it (cards, attempts) need not wait.
    visible = Message.objects.visible_to(actor).select_for_update(of=("self",), no_key=True)
    locked = visible.filter(public_id=message).first()
    if locked is None:
        raise VerdictNotAllowed("This message does not exist, or you may not see it.")
    return locked


def stop_of(message: Message) -> KillSwitch | None:
    """Return a kill switch that keeps decisions on this message from being carried out."""
    stops = KillSwitch.objects.stopping(connection=message.connection_id, mailbox=message.mailbox_id)
    return stops.select_related("pulled_by").first()
