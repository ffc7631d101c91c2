"""The items that need a person: nothing else ends them, or they should have ended by
now (common/grace.py).

Read only. Each item says since when and why, with one safe action, offered only to
people who may take it.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

from django.core.cache import caches
from django.urls import reverse
from django.utils import timezone

from approvals.decisions.later import time_in_words
from approvals.decisions.ruling import switch_stops
from approvals.desk_messages import desk_messages
from approvals.models import Decision, Replacement
from approvals.operations.items import (
    REVIEWER,
    REVIEWER_OR_ADMIN,
    Act,
    AttentionItem,
    ask_again,
    named,
    open_page,
)
from approvals.reconcile.ask_again import may_look, readable_by
from audit.models import Check
from audit.sealing import signing
from audit.sealing.status import overdue, sealing_state
from common.actors import Actor, Role
from common.counts import count_of
from common.grace import STUCK_AFTER
from mirror.models import Connection, Mailbox, WebhookEvent
from mirror.oversight_modes import mode_words
from mirror.states import DecisionState, MessageState, Outcome
from mirror.sync.health import freshness_of
from people.models import OrganisationSettings
from people.second_admin.setting import organisation_settings
from policy.models import KillSwitch

# How many items of one kind are read, and one action covers; the count includes all.
READ = 200
# Seconds for which the rail shows the same number: what it counts has been stuck for a
# minute at least.
COUNT_SECONDS = 10
OPERATOR = "whoever runs the desk"
_UNREAD = "It cannot be decided until its content is fetched. Try again."

# Makes items of the rows of one kind, as this person sees them at this moment.
Items = Callable[[Any, Actor, datetime], Iterator[AttentionItem]]


def attention_for(actor: Actor, now: datetime) -> list[AttentionItem]:
    """Return what is stuck and visible to the actor, the most urgent kind first, the
    oldest of a kind first.
    """
    items: list[AttentionItem] = []
    for rows, items_of in _stuck(actor):
        items.extend(items_of(rows[:READ], actor, now))
    if actor.sees_all():
        items.extend(_unsealed(now))
    return items


def attention_count(actor: Actor) -> int:
    """Return how many things are stuck within the actor's reach, up to a thousand and
    one.
    """
    if not actor.scopes:
        return 0
    kinds = [rows for rows, _ in _stuck(actor)]
    if actor.sees_all() and signing.public_keys():
        kinds.append(overdue(STUCK_AFTER))
    first, *others = (rows.order_by().values("pk") for rows in kinds)
    return count_of(first.union(*others, all=True))


def recent_attention_count(actor: Actor) -> int:
    """Return that number as it was some seconds ago, for the rail of every page:
    counting takes as long as a page.
    """
    key = f"stuck-{hash((actor.scopes, bool(signing.public_keys())))}"
    return int(
        caches["process"].get_or_set(key, lambda: attention_count(actor), COUNT_SECONDS)
        or 0
    )


def _stuck(actor: Actor) -> list[tuple[Any, Items]]:
    """Return what is stuck, kind by kind, each with the function that makes items of
    its rows.
    """
    decisions = Decision.objects.visible_to(actor).with_message()
    replacements = Replacement.objects.visible_to(actor).select_related(
        "message__connection", "message__mailbox", "person"
    )
    messages = desk_messages().visible_to(actor).select_related("connection", "mailbox")
    mailboxes = Mailbox.objects.visible_to(actor)
    connections = Connection.objects.visible_to(actor).order_by("name")
    events = WebhookEvent.objects.visible_to(actor).select_related("connection")
    minimum = organisation_settings()
    is_long_set = (
        minimum.minimum_set_at
        and minimum.minimum_set_at <= timezone.now() - STUCK_AFTER
    )
    long_set = minimum.minimum_oversight if is_long_set else ""
    kinds: list[tuple[Any, Items]] = [
        (decisions.left_in_doubt().order_by("changed_at"), _in_doubt),
        (decisions.stalled().order_by("due_at"), _stalled),
        (
            decisions.refused_lately()
            .select_related("given_by")
            .order_by("changed_at"),
            _refused,
        ),
        (replacements.left_half().order_by("created_at"), _half_replaced),
        (messages.overdue().awaiting_review().order_by("expires_at"), _overdue),
        (connections.unwell(), _connections),
        (
            mailboxes.below_minimum(minimum.minimum_oversight).order_by(
                "address", "pk"
            ),
            partial(_below_minimum, minimum),
        ),
        (connections.lacking_minimum(long_set), partial(_lacking_minimum, minimum)),
        (messages.unfetchable().oldest_first(), _unfetchable),
        (messages.long_unread().oldest_first(), _unread),
        (messages.without_word().order_by("changed_at"), _without_word),
        (events.to_look_at().with_head_of_body().order_by("received_at"), _events),
        (connections.with_unsigned(), _unsigned),
    ]
    if actor.sees_all():
        kinds.append((Check.objects.latest_finished().broken(), _broken_ledger))
    return kinds


def _stalled(rows: Any, actor: Actor, now: datetime) -> Iterator[AttentionItem]:
    switches = list(
        KillSwitch.objects.pulled().select_related("pulled_by", "connection", "mailbox")
    )
    for decision in rows:
        message = decision.message
        connection = message.connection
        switch = next((one for one in switches if switch_stops(one, message)), None)
        act: Act | None = Act(
            "See the connection", f"{reverse('connections')}#connection-{connection.pk}"
        )
        advice = "They are carried out once it works again."
        if switch is not None:
            why = f"{switch.pulled_by} pulled the {switch}: {switch.reason}"
            advice = "They are carried out once it is released. Until then, each can be undone on its page."
            act = Act("See the kill switch", reverse("stop"))
        elif connection.paused_at:
            why = f"{connection} is paused: {connection.paused_because}"
        elif connection.wait_until and connection.wait_until > now:
            why = f"MultiMail asked {connection} to wait until {connection.wait_until:%H:%M:%S} UTC."
        else:
            why = "No worker has picked them up."
            advice = "Check that the workers are running."
            act = (
                Act("Try now", reverse("carry-out"), posts=True)
                if may_look(actor, message)
                else None
            )
        what = f"{named(message)} was {decision.word}, and that was not carried out"
        several = "decisions were not carried out"
        yield AttentionItem(
            "stalled", what, decision.due_at, why, advice, act, message, several=several
        )


def _overdue(rows: Any, actor: Actor, now: datetime) -> Iterator[AttentionItem]:
    for message in rows:
        yield AttentionItem(
            "overdue",
            f"{named(message)} has expired but is not rejected",
            message.expires_at,
            "The expiry rule has not run, or it failed: see the worker's log. The message can no longer be approved.",
            "Reject it by hand.",
            open_page(actor, message, "Open it"),
            message,
            whose=REVIEWER,
            several=f"messages of {message.connection} have expired but are not rejected",
        )


def _connections(rows: Any, actor: Actor, now: datetime) -> Iterator[AttentionItem]:
    readable = set(readable_by(actor).values_list("pk", flat=True))
    for connection in rows:
        if connection.paused_at:
            what = f"{connection} is paused, so its decisions are not carried out"
            since = connection.paused_at
            advice = "Enter a key that MultiMail accepts. The pause ends with the first successful read."
            if connection.paused_by_hand:
                advice = "An admin paused it, and an admin can resume it on its page."
        elif connection.complete_as_of is None:
            what = f"{connection} has never been read"
            since = connection.created_at
            advice = "Check its address and its oversight key."
        else:
            what = f"{connection} cannot be read reliably"
            since = connection.failing_since or connection.complete_as_of
            advice = (
                "The desk keeps trying. Until it works, the queue may be incomplete."
            )
        why = freshness_of(connection, now=now).reason
        act = Act(
            "Read now", reverse("read-connection", args=[connection.pk]), posts=True
        )
        yield AttentionItem(
            "connection",
            what,
            since,
            why,
            advice,
            act if connection.pk in readable else None,
        )


def _below_minimum(
    minimum: OrganisationSettings, rows: Any, actor: Actor, now: datetime
) -> Iterator[AttentionItem]:
    """Yield the mailboxes that are looser than the organisation's minimum: MultiMail or
    an API key set them so.
    """
    if minimum.minimum_set_at is None:
        return
    for mailbox in rows:
        also = (
            " and lets a call loosen its own oversight"
            if mailbox.allow_looser_per_call
            else ""
        )
        yield AttentionItem(
            "below_minimum",
            f"{mailbox} is below the organisation's minimum oversight",
            max(minimum.minimum_set_at, mailbox.mirrored_at or minimum.minimum_set_at),
            f"The minimum is {mode_words(minimum.minimum_oversight)}; "
            f"the mailbox is {mode_words(mailbox.oversight_mode)}{also}.",
            "An admin of the mailbox can raise it.",
            Act("See mailboxes below it", reverse("oversight-minimum"))
            if actor.looks_after_people
            else None,
            whose="an admin",
        )


def _lacking_minimum(
    minimum: OrganisationSettings, rows: Any, actor: Actor, now: datetime
) -> Iterator[AttentionItem]:
    """Yield the gateways at which the organisation's minimum has not arrived."""
    if minimum.minimum_set_at is None:
        return
    for connection in rows:
        yield AttentionItem(
            "below_minimum",
            f"The gateway of {connection} lacks the organisation's minimum oversight",
            minimum.minimum_set_at,
            connection.gate_minimum_error or "It could not be brought there yet.",
            "The desk keeps trying. Until then a key with enough rights can loosen a mailbox there by API.",
            Act("See the minimum", reverse("oversight-minimum"))
            if actor.looks_after_people
            else None,
            whose="an admin",
        )


def _unfetchable(rows: Any, actor: Actor, now: datetime) -> Iterator[AttentionItem]:
    for message in rows:
        yield AttentionItem(
            "unfetchable",
            f"The content of {named(message)} cannot be fetched",
            message.held_at,
            f"The desk tried {message.fetch_tries} times and failed.",
            _UNREAD,
            ask_again(actor, message, "Try again"),
            message,
            several=f"contents of {message.connection} cannot be fetched",
        )


def _unread(rows: Any, actor: Actor, now: datetime) -> Iterator[AttentionItem]:
    for message in rows:
        connection = message.connection
        yield AttentionItem(
            "unread",
            f"The content of {named(message)} has not arrived yet",
            message.held_at,
            connection.paused_because
            or connection.last_error
            or f"{connection} has not returned it.",
            _UNREAD,
            ask_again(actor, message, "Try again"),
            message,
            several=f"contents of {connection} have not arrived yet",
        )


def _without_word(rows: Any, actor: Actor, now: datetime) -> Iterator[AttentionItem]:
    for message in rows:
        yield AttentionItem(
            "silent",
            f"{named(message)} was approved, but MultiMail has not reported it as sent",
            message.changed_at,
            "Its mail server may still be trying, or a webhook was lost.",
            "Compare with MultiMail, or look in the mail server's log.",
            ask_again(actor, message, "Compare with MultiMail"),
            message,
            several=f"messages of {message.connection} were approved, but MultiMail has not reported them as sent",
        )


def _events(rows: Any, actor: Actor, now: datetime) -> Iterator[AttentionItem]:
    for event in rows:
        may = actor.is_a(Role.ADMIN, connection=event.connection_id, mailbox=None)
        name = event.name or "without a name"
        connection = event.connection
        if event.result == WebhookEvent.Result.POISON:
            what = f"A webhook ({name}) of {connection} could not be applied"
            several = f"webhooks ({name}) of {connection} could not be applied"
            why = event.error
            advice = "It is stored: replay it once the cause is fixed, or dismiss it."
            act = Act("Replay", reverse("replay-event", args=[event.pk]), posts=True)
        elif event.result == WebhookEvent.Result.REFUTED:
            what = f"A webhook ({name}) of {connection} reported what a read of MultiMail contradicts"
            several = f"webhooks ({name}) of {connection} reported what reads of MultiMail contradict"
            why = "It was signed with the connection's secret. The desk goes by the read, and nothing was closed by it."
            advice = (
                "If nobody here sent it, the secret has leaked: change it on the connection's page and end the old one "
                "at once. Comparing once more also dismisses the webhook."
            )
            act = Act(
                "Compare with MultiMail",
                reverse("compare-event", args=[event.pk]),
                posts=True,
            )
        else:
            what = f"A webhook ({name}) of {connection} contradicts what is known about its message"
            several = f"webhooks ({name}) of {connection} contradict what is known about their messages"
            why = "The message already had another outcome, and MultiMail did not say which is right."
            advice = "Compare with MultiMail. This also dismisses the webhook."
            act = Act(
                "Compare with MultiMail",
                reverse("compare-event", args=[event.pk]),
                posts=True,
            )
        yield AttentionItem(
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


def _unsigned(rows: Any, actor: Actor, now: datetime) -> Iterator[AttentionItem]:
    for connection in rows:
        number = connection.unsigned_count
        is_admin = actor.is_a(Role.ADMIN, connection=connection.pk, mailbox=None)
        address = f"{reverse('connection', args=[connection.pk])}#webhook"
        yield AttentionItem(
            "unsigned",
            f"{number} webhook{'s' if number != 1 else ''} to {connection} had no valid signature in the last day",
            connection.unsigned_since,
            "They were refused, and nothing of them was stored.",
            "If MultiMail sent them, the desk has another signing secret than MultiMail: change it. If not, somebody "
            "knows the webhook's address. This ends a day after the last of them.",
            Act("See the webhook", address) if is_admin else None,
            whose="an admin",
        )


def _broken_ledger(rows: Any, actor: Actor, now: datetime) -> Iterator[AttentionItem]:
    for check in rows:
        yield AttentionItem(
            "ledger_broken",
            "The ledger failed verification",
            check.ended_at or check.started_at,
            (check.findings or ["No reason was recorded."])[0],
            "Change nothing. Copy the database and the seals' file, and read all findings.",
            Act("See the findings", reverse("ledger-state")),
            whose=OPERATOR,
        )


def _unsealed(now: datetime) -> Iterator[AttentionItem]:
    """Yield that sealing is late, as one item, however many entries wait."""
    state = sealing_state(now)
    if state.is_on and state.is_late and state.waits_since:
        kind = "ledger_stopped" if state.is_stopped else "ledger"
        what = (
            "The ledger is not sealed"
            if state.last is None
            else "The newest ledger entries are not sealed"
        )
        yield AttentionItem(
            kind, what, state.waits_since, state.why, state.advice, whose=OPERATOR
        )


def _in_doubt(rows: Any, actor: Actor, now: datetime) -> Iterator[AttentionItem]:
    for decision in rows:
        if decision.state == DecisionState.UNKNOWN:
            yield _unknown(decision, actor)
        elif decision.state == DecisionState.UNATTRIBUTED:
            yield _unattributed(decision, actor)
        else:
            yield _withdrawn(decision, actor)


def _unknown(decision: Decision, actor: Actor) -> AttentionItem:
    message = decision.message
    why = decision.explanation or "MultiMail did not answer."
    repeats = message.connection.repeats_unknown_approvals
    if (
        decision.outcome == Outcome.APPROVE
        and decision.has_been_read_as_held
        and not repeats
    ):
        why = f"{why} Two complete reads showed it still held, so the call most likely had no effect."
        advice = (
            "Read it again, then send it again. The desk never does this by itself."
        )
        act = open_page(actor, message, "Read it, then send again")
        whose = REVIEWER
        several = f"approvals through {message.connection} may not have taken effect"
    else:
        advice = "The desk checks every few seconds. You can check now."
        act = ask_again(actor, message, "Check again")
        whose = REVIEWER_OR_ADMIN
        several = f"decisions through {message.connection} may or may not have been carried out"
    what = f"It is not known whether {named(message)} was {decision.word}"
    return AttentionItem(
        decision.state,
        what,
        decision.changed_at,
        why,
        advice,
        act,
        message,
        whose=whose,
        several=several,
    )


def _unattributed(decision: Decision, actor: Actor) -> AttentionItem:
    gone = "MultiMail no longer holds it, and what happened is not known."
    return AttentionItem(
        decision.state,
        f"{named(decision.message)} was decided; by whom is not known",
        decision.changed_at,
        decision.explanation
        if gone in decision.explanation
        else f"{decision.explanation} {gone}".strip(),
        "Look it up at MultiMail, then record on its page what happened.",
        open_page(actor, decision.message, "Record what happened"),
        decision.message,
        whose=REVIEWER,
        several=f"messages of {decision.message.connection} were decided; by whom is not known",
    )


def _withdrawn(decision: Decision, actor: Actor) -> AttentionItem:
    message = decision.message
    whose = REVIEWER
    if message.state == MessageState.HELD and decision.outcome == Outcome.APPROVE:
        advice = "Reject it at MultiMail. Whichever decision arrives first counts."
        act = open_page(actor, message, "Reject at MultiMail")
    elif message.state == MessageState.GONE:
        advice = "MultiMail no longer holds it. Look it up there, then record on its page what happened."
        act = open_page(actor, message, "Record what happened")
    else:
        advice = "The desk keeps checking. You can check now."
        act = ask_again(actor, message, "Check again")
        whose = REVIEWER_OR_ADMIN
    return AttentionItem(
        decision.state,
        f"{named(message)} may still be sent",
        decision.changed_at,
        decision.explanation
        or "It was withdrawn after the call to MultiMail may have been made.",
        advice,
        act,
        message,
        whose=whose,
        several=f"messages of {message.connection} may still be sent",
    )


def _refused(rows: Any, actor: Actor, now: datetime) -> Iterator[AttentionItem]:
    for decision in rows:
        when = time_in_words(decision.later_at, decision.later_zone)
        chosen = f"{decision.giver} approved it for {when}. " if when else ""
        yield AttentionItem(
            "refused",
            f"{named(decision.message)} was {decision.word}, and is held again",
            decision.changed_at,
            f"{chosen}{decision.explanation}",
            "Nothing was sent. Read it again, then decide again.",
            open_page(actor, decision.message, "Read again"),
            decision.message,
            whose=REVIEWER,
            several=f"messages of {decision.message.connection} were decided, and are held again",
        )


def _half_replaced(rows: Any, actor: Actor, now: datetime) -> Iterator[AttentionItem]:
    for row in rows:
        message = row.message
        if row.upstream_id:
            what = f"{named(message)} and its edited version are both held"
            why = (
                row.problem
                or f"{row.person} sent an edited version, and the original was not rejected."
            )
            advice = "Reject one of them on its page."
        else:
            what = f"It is not known whether {named(message)} and its edited version are both held"
            why = (
                row.problem
                or "The worker that sent the edited version stopped before MultiMail answered."
            )
            advice = "The desk repeats the call, which sends nothing twice. You can try now on its page."
        act = open_page(actor, message, "Open the original")
        yield AttentionItem(
            "replaced", what, row.created_at, why, advice, act, message, whose=REVIEWER
        )
