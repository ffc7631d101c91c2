"""Lists what needs a person: what nothing will end by itself, or what should have ended by now (common/grace.py).

It reads only. Each item says since when, why, and the one safe thing to do about it; that one is offered only to those
who may do it.
"""

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Any

from django.db import connection as database
from django.urls import reverse

from approvals.models import Decision
from approvals.operations.items import REVIEWER, Act, Stuck, ask_again, named, open_page
from approvals.operations.stalling import stalled
from approvals.operations.unconfirmed import in_doubt, refused
from approvals.querysets.messages import desk_messages
from approvals.reconcile.ask_again import may_look, readable_by
from audit.models import Check
from audit.sealing import signing
from audit.sealing.status import overdue, sealing_state
from common.grace import STUCK_AFTER
from mirror.models import Connection, Message, WebhookEvent
from mirror.sync.freshness import freshness_of
from people.actors import Actor, Role, Scope

# Of one kind so many are read, and one act is for so many; the count tells of all.
READ = 200
COUNTED = 1000


def attention_for(actor: Actor, now: datetime) -> list[Stuck]:
    """Return what is stuck within the actor's reach, the most urgent kind first, the oldest of a kind first."""
    return list(
        chain(
            in_doubt(actor, at_most=READ),
            _stalled(actor, now),
            refused(actor, at_most=READ),
            _overdue(actor),
            _connections(actor, now),
            _unread(actor),
            _without_word(actor),
            _events(actor),
            _ledger(actor, now),
        )
    )


def attention_count(actor: Actor) -> int:
    """Return how many things are stuck within the actor's reach, up to a thousand and one, by one query."""
    if not actor.scopes:
        return 0
    with database.cursor() as cursor:
        cursor.execute(*_found(actor.scopes, bool(signing.public_keys())))
        return len(cursor.fetchall())


@lru_cache(maxsize=256)
def _found(scopes: tuple[Scope, ...], is_sealed: bool) -> tuple[str, tuple[Any, ...]]:
    """The query of what is to be counted, on every page: composing it takes longer than asking it.

    It may be kept because its times are PostgreSQL's now(), and what the actor sees is told by its scopes alone.
    """
    actor = Actor(kind="person", id="", label="", surface="", scopes=scopes)
    decisions, messages = Decision.objects.visible_to(actor), desk_messages().visible_to(actor)
    parts = [
        decisions.left_in_doubt(),
        decisions.stalled(),
        decisions.refused_lately(),
        messages.overdue().awaiting_review(),
        messages.unfetchable(),
        messages.long_unread(),
        messages.without_word(),
        WebhookEvent.objects.visible_to(actor).to_look_at(),
        Connection.objects.visible_to(actor).unwell(),
        *([overdue(STUCK_AFTER)] if is_sealed and actor.sees_all() else []),
        *([Check.objects.latest_finished().broken()] if actor.sees_all() else []),
    ]
    first, *others = [part.order_by().values_list("pk", flat=True) for part in parts]
    return first.union(*others, all=True)[: COUNTED + 1].query.sql_with_params()


def _stalled(actor: Actor, now: datetime) -> Iterator[Stuck]:
    for decision, cause in stalled(actor, now, at_most=READ):
        act = None
        if cause.place:
            act = Act(cause.label, cause.place)
        elif may_look(actor, decision.message):
            act = Act("Try now", reverse("carry-out"), posts=True)
        what = f"{named(decision.message)} was {decision.word}, and that was not carried out"
        several = "decisions were not carried out"
        yield Stuck("stalled", what, decision.due_at, cause.why, cause.advice, act, decision.message, several=several)


def _overdue(actor: Actor) -> Iterator[Stuck]:
    late = desk_messages().visible_to(actor).overdue().awaiting_review().select_related("connection", "mailbox")
    for message in late.order_by("expires_at")[:READ]:
        assert message.expires_at is not None, "overdue() asks for one"
        yield Stuck(
            "overdue",
            f"{named(message)} should have been rejected, because its time is over",
            message.expires_at,
            "The rule that does so has not come to it, or fails at it: the worker's log tells. Nobody can approve it "
            "any more.",
            "Reject it yourself.",
            open_page(actor, message, "Open it"),
            message,
            whose=REVIEWER,
            several=f"messages of {message.connection} should have been rejected, because their time is over",
        )


def _connections(actor: Actor, now: datetime) -> Iterator[Stuck]:
    readable = set(readable_by(actor).values_list("pk", flat=True))
    for connection in Connection.objects.visible_to(actor).unwell().order_by("name"):
        if connection.paused_at:
            what, since = f"{connection} is paused, and nothing is decided through it", connection.paused_at
            advice = "Put a key in that MultiMail takes; a read that works ends the pause."
            if connection.paused_by_hand:
                advice = "An admin paused it by hand, and an admin lets it go on, on its page."
        elif connection.complete_as_of is None:
            what, since = f"{connection} has never been read", connection.created_at
            advice = "Look at its address and its oversight key."
        else:
            what, since = f"{connection} is not well read", connection.failing_since or connection.complete_as_of
            advice = "It is tried again by itself; the queue may lack messages until it works."
        why = freshness_of(connection, now=now).reason
        act = Act("Read now", reverse("read-connection", args=[connection.pk]), posts=True)
        yield Stuck("connection", what, since, why, advice, act if connection.pk in readable else None)


def _unread(actor: Actor) -> Iterator[Stuck]:
    visible = desk_messages().visible_to(actor).select_related("connection", "mailbox")
    advice = "Nobody can decide what nobody could read. Fetch it once more."
    for message in visible.unfetchable().oldest_first()[:READ]:
        what = f"The content of {named(message)} cannot be fetched"
        why = f"It was tried {message.fetch_tries} times, and each time the worker did not come to an end."
        act = ask_again(actor, message, "Try again")
        several = f"contents of {message.connection} cannot be fetched"
        yield Stuck("unfetchable", what, message.held_at, why, advice, act, message, several=several)
    for message in visible.long_unread().oldest_first()[:READ]:
        connection = message.connection
        what = f"The content of {named(message)} has not come yet"
        why = connection.paused_because or connection.last_error or f"{connection} has not given it."
        act = ask_again(actor, message, "Try again")
        several = f"contents of {connection} have not come yet"
        yield Stuck("unread", what, message.held_at, why, advice, act, message, several=several)


def _without_word(actor: Actor) -> Iterator[Stuck]:
    silent = Message.objects.visible_to(actor).without_word().select_related("connection", "mailbox")
    for message in silent.order_by("changed_at")[:READ]:
        yield Stuck(
            "silent",
            f"{named(message)} was approved, and MultiMail has not said that it left",
            message.changed_at,
            "Its mail server may be trying still, or the webhook that tells was lost.",
            "Compare with MultiMail; the log of its mail server knows more.",
            ask_again(actor, message, "Compare with MultiMail"),
            message,
            several=f"messages of {message.connection} were approved, and MultiMail has not said that they left",
        )


def _events(actor: Actor) -> Iterator[Stuck]:
    events = WebhookEvent.objects.visible_to(actor).to_look_at().select_related("connection").with_head_of_body()
    for event in events.order_by("received_at")[:READ]:
        may = actor.is_a(Role.ADMIN, connection=event.connection_id, mailbox=None)
        name, connection = event.name or "without a name", event.connection
        if event.result == WebhookEvent.Result.POISON:
            what = f"A webhook ({name}) of {connection} could not be applied"
            several = f"webhooks ({name}) of {connection} could not be applied"
            why, advice = event.error, "Kept whole: replay once its cause is gone, or put away."
            act = Act("Replay", reverse("replay-event", args=[event.pk]), posts=True)
        else:
            what = f"A webhook ({name}) of {connection} contradicts what is known of its message"
            several = f"webhooks ({name}) of {connection} contradict what is known of their messages"
            why = "The message had gone another way by then, and MultiMail did not say when asked which is true."
            advice = "Compare with MultiMail, which also puts this away."
            act = Act("Compare with MultiMail", reverse("compare-event", args=[event.pk]), posts=True)
        yield Stuck(
            event.result,
            what,
            event.received_at,
            why,
            advice,
            act if may else None,
            event=event,
            whose="an admin",
            several=several,
        )


def _ledger(actor: Actor, now: datetime) -> Iterator[Stuck]:
    """What holds the sealing up is one thing, whose trouble and end are the operator's: the rows tell of it."""
    if not actor.sees_all():
        return
    for check in Check.objects.latest_finished().broken():
        why, since = (check.findings or ["It did not say why."])[0], check.ended_at or check.started_at
        advice = "Change nothing, keep a copy of the database and of the seals' file, and read all that was found."
        act = Act("See what was found", reverse("ledger-state"))
        yield Stuck("ledger_broken", "The ledger does not hold", since, why, advice, act, whose="whoever runs the desk")
    state = sealing_state(now)
    if state.is_on and state.is_late and state.waits_since:
        kind = "ledger_stopped" if state.is_stopped else "ledger"
        what = "What happened is not sealed" if state.last is None else "What happened lately is not sealed"
        yield Stuck(kind, what, state.waits_since, state.why, state.advice, whose="whoever runs the desk")
