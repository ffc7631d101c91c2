"""Asks policy about one message and one person: the facts are gathered here, the rules live there."""

from collections.abc import Mapping, Sequence
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
    return rule(_facts(message, actor, now, stop=stop_of(message), files=_files_that_differ([message])))


def rulings_for(messages: Sequence[Message], *, actor: Actor, now: datetime) -> dict[int, Ruling]:
    """Return the same for many messages by their keys, in two queries whatever their number."""
    stops = list(KillSwitch.objects.pulled().select_related("pulled_by", "mailbox").order_by("pk"))
    files = _files_that_differ(messages)
    return {
        one.pk: rule(_facts(one, actor, now, stop=next((s for s in stops if _stops(s, one)), None), files=files))
        for one in messages
    }


def _facts(
    message: Message, actor: Actor, now: datetime, *, stop: KillSwitch | None, files: Mapping[int, tuple[str, ...]]
) -> Facts:
    return Facts(
        is_held=message.state == MessageState.HELD,
        is_fetched=message.hydrated_at is not None,
        is_reviewer=is_reviewer(actor, message),
        is_expired=message.expires_at is not None and message.expires_at <= now,
        mailbox=str(message.mailbox or ""),
        files_that_differ=files.get(message.revision_id or 0, ()),
        stopped_by=f"{stop.pulled_by} ({stop.reason})" if stop else "",
    )


def _stops(stop: KillSwitch, message: Message) -> bool:
    """Whether a switch keeps this message, as `KillSwitchQuerySet.stopping` tells it."""
    if stop.mailbox is not None:
        is_there = message.mailbox_id is None or stop.mailbox_id == message.mailbox_id
        return is_there and stop.mailbox.connection_id == message.connection_id
    return stop.connection_id is None or stop.connection_id == message.connection_id


def _files_that_differ(messages: Sequence[Message]) -> dict[int, tuple[str, ...]]:
    """Return by version the names of up to three files whose bytes are known to be others."""
    versions = [one.revision_id for one in messages if one.revision and one.revision.content.get("attachments")]
    differing = EnclosedFile.objects.filter(revision__in=versions).differing().in_place() if versions else None
    found: dict[int, tuple[str, ...]] = {}
    for version, name in differing.values_list("revision_id", "name") if differing is not None else ():
        found[version] = (*found.get(version, ()), named(name)[:80])[:3]
    return found


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
