"""Gathers the facts about messages and a person, and lets `policy.evaluation` rule on
them.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from approvals.decisions.demands import (
    barred_editors,
    contributors_of,
    demands_for,
    key_of,
)
from approvals.errors import ContentChanged, VerdictNotAllowed
from approvals.models import Brake
from common.actors import Actor, Role
from common.fingerprint import short_fingerprint
from common.postgres import clock
from mirror.models import AttachedFile, Message
from mirror.recipients import UNSEEN
from policy.allowlists.applicable import judge_messages
from policy.allowlists.judgement import OFF, allowable
from policy.evaluation import Ruling, RulingFacts, rule
from policy.models import KillSwitch
from policy.rules.demand import Demand
from rendering import named

# How much of an address a sentence shows.
_LONGEST = 254


def rulings(
    messages: Sequence[Message],
    actor: Actor,
    *,
    now: datetime | None = None,
    is_decided: bool = False,
) -> dict[int, Ruling]:
    """Return what the rules say about this person deciding each of these messages, by
    the messages' keys.

    For a decision no `now` is given, so that the database's clock counts: a host's
    wrong clock must not expire a message early or keep an allowlist entry alive.
    `is_decided`: the approvals are there, and are asked again before they are carried
    out.
    """
    facts = gather(messages, actor, now=now or clock(), is_decided=is_decided)
    return {message.pk: rule(facts[message.pk]) for message in messages}


def gather(
    messages: Sequence[Message],
    actor: Actor,
    *,
    now: datetime,
    is_decided: bool = False,
) -> dict[int, RulingFacts]:
    """Return what a ruling needs to know of each message and the person, in a fixed
    number of queries.
    """
    # What is decided waits by itself while a switch is pulled, and nobody reads these
    # words.
    pulled = KillSwitch.objects.none() if is_decided else KillSwitch.objects.pulled()
    switches = list(pulled.prefetch_related("pulled_by", "mailbox").order_by("pk"))
    # The names of up to three files of each version whose bytes are known to differ.
    versions = [
        one.revision_id
        for one in messages
        if one.revision and one.revision.content.get("attachments")
    ]
    differing: defaultdict[int | None, list[str]] = defaultdict(list)
    if versions:
        files = AttachedFile.objects.filter(revision__in=versions).differing()
        for file in files.in_order().only("revision", "name"):
            differing[file.revision_id].append(named(file.name)[:80])
    contributors = contributors_of(messages)
    judged = judge_messages(messages, now=now)
    demands = demands_for(
        messages, actor, now=now, contributors=contributors, is_decided=is_decided
    )
    person = key_of(actor)
    found = {}
    for message in messages:
        stop = next((one for one in switches if switch_stops(one, message)), None)
        allowed = judged[message.pk]
        can_be_allowed = any(map(allowable, allowed.refused))
        doubt = ""
        if allowed.lacks_contacts:
            doubt = "Its contacts could not be read, so no recipient counts as known: the connection needs a read key."
        elif any(one in UNSEEN.values() for one in allowed.refused):
            doubt = "With a read key the connection would show who that is."
        elif allowed.refused and not can_be_allowed:
            doubt = "No allowlist entry can match it: reject it or request changes."
        found[message.pk] = RulingFacts(
            is_held=message.is_held,
            is_fetched=message.hydrated_at is not None,
            is_reviewer=is_reviewer(actor, message),
            is_author=person in contributors[message.pk].authors,
            is_editor=person in barred_editors(message, contributors[message.pk]),
            is_expired=message.expires_at is not None and message.expires_at <= now,
            mailbox=str(message.mailbox or ""),
            files_that_differ=tuple(differing[message.revision_id][:3]),
            stopped_by=f"{stop.pulled_by} ({stop.reason})" if stop else "",
            off_list=_shown(allowed.refused),
            would_be_off_list=_shown(allowed.would_be_refused),
            list_words=f"no allowlist for {message.mailbox or message.connection}"
            if allowed.mode != OFF
            else "",
            list_doubt=doubt,
            can_be_allowed=can_be_allowed,
            judged=allowed,
            contributors=contributors[message.pk],
            demand=demands.get(message.pk, Demand()),
        )
    return found


def _shown(addresses: Sequence[str]) -> tuple[str, ...]:
    """Return addresses as a sentence can show them: shortened, and with nothing
    invisible in them.
    """
    return tuple(named(one)[:_LONGEST] for one in addresses)


def switch_stops(switch: KillSwitch, message: Message) -> bool:
    """Whether a switch stops this message, as `KillSwitchQuerySet.stopping` defines it.

    A message whose mailbox is not known is stopped with any mailbox of its connection.
    """
    if switch.mailbox is None:
        return switch.connection_id in (None, message.connection_id)
    return (
        switch.mailbox.connection_id == message.connection_id
        and message.mailbox_id in (None, switch.mailbox_id)
    )


def stop_of(message: Message) -> KillSwitch | None:
    """Return a kill switch that keeps decisions on this message from being carried out."""
    stops = KillSwitch.objects.stopping(
        connection=message.connection_id, mailbox=message.mailbox_id
    )
    return stops.select_related("pulled_by").order_by("pk").first()


def is_reviewer(actor: Actor, message: Message) -> bool:
    """Whether the actor is a reviewer of the message's mailbox."""
    return actor.is_a(
        Role.REVIEWER, connection=message.connection_id, mailbox=message.mailbox_id
    )


def may_handle(actor: Actor, about: Message | Brake) -> bool:
    """Whether the actor is a reviewer or an admin of the mailbox of a message or flood.

    Both may assign a message, comment on it, and have MultiMail asked about it.
    """
    return any(
        actor.is_a(role, connection=about.connection_id, mailbox=about.mailbox_id)
        for role in (Role.REVIEWER, Role.ADMIN)
    )


def content_changed(message: Message, shown: str) -> ContentChanged:
    """Return the error for a message whose content is not the one that was shown."""
    current = message.fingerprint
    before, now = (
        short_fingerprint(one) if one else "none" for one in (shown, current)
    )
    return ContentChanged(
        f"The message changed after you opened it: you saw {before}, now it is {now}. Read it again, then decide.",
        shown=shown,
        current=current,
    )


def lock_visible(message: UUID, *, actor: Actor) -> Message:
    """Return a message that the actor may see with its content, locked for the rest of
    the transaction.
    """
    # In two statements: rows joined in the first would be as old as before the wait for
    # the lock, or missing if the message has a new revision by then. no_key: rows that
    # refer to the message can be inserted meanwhile.
    visible = Message.objects.visible_to(actor).select_for_update(
        of=("self",), no_key=True
    )
    keys = list(visible.filter(public_id=message).values_list("pk", flat=True))
    if not keys:
        raise VerdictNotAllowed("This message does not exist, or you may not see it.")
    return Message.objects.with_content().select_related("connection").get(pk=keys[0])


def lock_for_reviewer(message: UUID, *, actor: Actor, to: str) -> Message:
    """Return a message as `lock_visible` does. Raises VerdictNotAllowed, which says
    that only a reviewer of its mailbox can do this.
    """
    locked = lock_visible(message, actor=actor)
    if not is_reviewer(actor, locked):
        raise VerdictNotAllowed(f"Only a reviewer of this mailbox can {to}.")
    return locked
