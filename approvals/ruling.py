"""Asks policy about one message and one person: the facts are gathered here, the rules live there."""

from datetime import datetime

from approvals.models import Message
from approvals.states import MessageState
from people.actors import Actor, Role
from policy.ruling import Facts, Ruling, rule


def ruling_for(message: Message, *, actor: Actor, now: datetime) -> Ruling:
    """Return what the rules say about this person deciding this message now."""
    return rule(
        Facts(
            is_held=message.state == MessageState.HELD,
            is_fetched=message.hydrated_at is not None,
            is_reviewer=actor.is_a(Role.REVIEWER, connection=message.connection_id, mailbox=message.mailbox_id),
            is_expired=message.expires_at is not None and message.expires_at <= now,
            mailbox=str(message.mailbox or ""),
        )
    )
