"""Collects the items of the page Needs attention: decisions, messages, connections,
webhooks and other things that only a person can deal with, or that should have ended by
themselves by now (common/grace.py).

Each item says what is stuck, since when and why, and has one safe action, offered only
to people who may take it. Nothing is changed here.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.core.cache import caches
from django.urls import reverse
from django.utils import timezone

from approvals.decisions.later import time_in_words
from approvals.decisions.ruling import is_reviewer, may_handle, switch_stops
from approvals.desk_messages import desk_messages
from approvals.models import Decision, Replacement
from approvals.operations.items import (
    CHECK_AGAIN,
    COMPARE,
    OPERATOR,
    READ_NOW,
    REPLAY,
    REVIEWER,
    REVIEWER_OR_ADMIN,
    TRY_AGAIN,
    Act,
    AttentionItem,
    named,
)
from approvals.reconcile.check_again import connections_to_read
from audit.models import Check
from audit.sealing.status import sealing_state
from common.actors import Actor, Role
from common.counts import count_of
from common.postgres import clock
from common.time_zones import time_of_day
from mirror.models import Connection, Mailbox, Message, WebhookEvent
from mirror.oversight_modes import mode_words
from mirror.states import DecisionState, MessageState
from mirror.sync.health import freshness_of, health_of
from policy import gates
from policy.errors import RuleError
from policy.models import KillSwitch, PolicyVersion
from policy.rules.rules import PolicyRule

# How many items of one kind are read at most, and so are covered by one action. The
# count includes all.
READ = 200
# Seconds for which the number on the rail is cached.
COUNT_SECONDS = 10
_UNREAD = "It cannot be decided until its content is fetched. Try again."


@dataclass
class _Viewer:
    """The person for whom items are made, and when; with what several items need, each
    read from the database once.
    """

    actor: Actor
    now: datetime

    @cached_property
    def minimum_rules(self) -> list[PolicyRule]:
        # Rules that cannot be read have a sentence on the pages of the policy.
        with suppress(RuleError):
            return gates.minimum_rules()
        return []

    @cached_property
    def below(self) -> dict[int, str]:
        return gates.mailboxes_below(self.minimum_rules, self.actor)

    @cached_property
    def policy_since(self) -> datetime:
        return PolicyVersion.objects.active().get().activated_at or self.now

    @cached_property
    def switches(self) -> list[KillSwitch]:
        pulled = KillSwitch.objects.pulled()
        return list(pulled.select_related("pulled_by", "connection", "mailbox"))

    @cached_property
    def explained(self) -> set[str]:
        """The kinds of items that follow from what stops the desk's work."""
        found = [one for source in STANDSTILLS for one in source()]
        return {kind for one in found for kind in one.explains}

    @cached_property
    def others(self) -> list[AttentionItem]:
        """The items of SOURCES, except those that follow from a standstill."""
        found = [one for source in SOURCES for one in source(self.actor)]
        return [one for one in found if one.kind not in self.explained]

    @cached_property
    def readable(self) -> set[int]:
        return set(connections_to_read(self.actor).values_list("pk", flat=True))

    def for_admin(self, connection: Connection, act: Act) -> Act | None:
        """Return the act; None unless the person is an admin of this connection."""
        is_admin = self.actor.is_a(Role.ADMIN, connection=connection.pk, mailbox=None)
        return act if is_admin else None

    def open_page(self, message: Message, label: str) -> Act | None:
        """Return the link to a message's page; None unless the person is a reviewer of
        its mailbox.
        """
        if not is_reviewer(self.actor, message):
            return None
        return Act(label, reverse("message", args=[message.public_id]))

    def ask_again(self, message: Message, labels: tuple[str, str]) -> Act | None:
        """Return the action that asks MultiMail about a message; None if the person may
        not do that.
        """
        if not may_handle(self.actor, message):
            return None
        return _button(labels, "look-again", message.public_id)


def _button(labels: tuple[str, str], page: str, key: object) -> Act:
    return Act(labels[0], reverse(page, args=[key]), labels[1])


# A function that makes the item of a database row for this person.
ItemOf = Callable[[Any, _Viewer], AttentionItem]


def attention_for(
    actor: Actor, now: datetime, *, with_facts: bool = False
) -> list[AttentionItem]:
    """Return the items that the actor may see: the most urgent kind first, and the
    oldest of each kind first; then those of SOURCES. What follows from a standstill is
    left out. `with_facts` includes what needs no person.
    """
    items: list[AttentionItem] = []
    viewer = _Viewer(actor, now)
    for rows, item_of in _stuck(viewer):
        items.extend(item_of(row, viewer) for row in rows[:READ])
    items += viewer.others
    return [one for one in items if with_facts or one.needs_action]


def _sealing(actor: Actor) -> Iterator[AttentionItem]:
    """Yield what is wrong with the seals. Late sealing is one item, however many ledger
    entries wait.
    """
    state = sealing_state(clock()) if actor.sees_all() else None
    if state and state.why:
        what = "The ledger's seals are incomplete"
        if state.is_on and state.is_late:
            what = "The newest ledger entries are not sealed"
        yield AttentionItem(
            "ledger_stopped" if state.is_stopped else "ledger",
            what,
            state.waits_since,
            state.why,
            state.advice,
            whose=OPERATOR,
            needs_action=state.is_on,
        )


# Functions that return items without rows. The site adds the one that checks what it
# runs on: servers, disk, workers.
SOURCES: list[Callable[[Actor], Iterable[AttentionItem]]] = [_sealing]
# Functions that return what stops the desk's work for everybody; the site adds its own.
STANDSTILLS: list[Callable[[], Iterable[AttentionItem]]] = []


def attention_count(actor: Actor) -> int:
    """Return how many items the actor may see; counting stops above a thousand."""
    if not actor.scopes:
        return 0
    viewer = _Viewer(actor, timezone.now())
    kinds = [rows for rows, _ in _stuck(viewer)]
    first, *others = (rows.order_by().values("pk") for rows in kinds)
    further = sum(one.needs_action for one in viewer.others)
    return further + count_of(first.union(*others, all=True))


def recent_attention_count(actor: Actor) -> int:
    """Return `attention_count` as it was up to COUNT_SECONDS ago, for the rail of every
    page: counting each time would take as long as a page does.
    """
    count = caches["process"].get_or_set(
        f"stuck-{hash(actor.scopes)}", lambda: attention_count(actor), COUNT_SECONDS
    )
    return int(count or 0)


def _stuck(viewer: _Viewer) -> list[tuple[Any, ItemOf]]:
    """Return for each kind of items, the most urgent first, the query for its rows and
    the function that makes an item of a row.
    """
    actor = viewer.actor
    decisions = Decision.objects.visible_to(actor).select_related(
        "message__connection", "message__mailbox"
    )
    replacements = Replacement.objects.visible_to(actor).select_related(
        "message__connection", "message__mailbox", "person"
    )
    messages = desk_messages().visible_to(actor).select_related("connection", "mailbox")
    mailboxes = Mailbox.objects.visible_to(actor)
    connections = Connection.objects.visible_to(actor).order_by("name")
    events = WebhookEvent.objects.visible_to(actor).select_related("connection")
    gateways = gates.gateways_below(viewer.minimum_rules)
    silent = WebhookEvent.objects.silent_connections().visible_to(actor)
    stalled, unread = decisions.stalled(), messages.long_unread()
    overdue, unwell = messages.overdue().awaiting_review(), connections.unwell()
    if "stalled" in viewer.explained:
        # Only those that something else stops too.
        stalled = stalled.exclude(pk__in=Decision.objects.due().values("pk"))
        unwell = unwell.exclude(paused_at=None, failing_since=None)
        overdue, unread = overdue.none(), unread.none()
    kinds: list[tuple[Any, ItemOf]] = [
        (decisions.left_in_doubt().order_by("changed_at"), _in_doubt),
        (stalled.order_by("due_at"), _stalled),
        (
            decisions.refused_lately()
            .select_related("given_by")
            .order_by("changed_at"),
            _refused,
        ),
        (replacements.left_half().order_by("created_at"), _half_replaced),
        (messages.unexplained().order_by("decided_elsewhere_at"), _unexplained),
        (overdue.order_by("expires_at"), _overdue),
        (unwell, _connection),
        (
            mailboxes.filter(pk__in=viewer.below).order_by("address", "pk"),
            _below_minimum,
        ),
        (connections.filter(pk__in=gateways), _gateway_below),
        (messages.unfetchable().oldest_first(), _unfetchable),
        (unread.oldest_first(), _unread),
        (messages.not_taken().order_by("changed_at"), _not_taken),
        (messages.without_word().order_by("changed_at"), _without_word),
        (events.to_look_at().with_head_of_body().order_by("received_at"), _event),
        (connections.with_unsigned(), _unsigned),
        (silent.order_by("name"), _silent_webhook),
    ]
    if actor.sees_all():
        kinds.append((Check.objects.latest_finished().broken(), _broken_ledger))
    return kinds


def _stalled(decision: Decision, viewer: _Viewer) -> AttentionItem:
    # A decision that is due but not carried out, because something stops it.
    message = decision.message
    connection = message.connection
    switch = next((one for one in viewer.switches if switch_stops(one, message)), None)
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
    elif connection.wait_until and connection.wait_until > viewer.now:
        why = f"MultiMail asked {connection} to wait until {time_of_day(connection.wait_until)}."
    else:
        why = "No worker has picked them up."
        advice = "Check that the workers are running."
        act = None
    return AttentionItem(
        "stalled",
        f"{named(message)} was {decision.word}, and that was not carried out",
        decision.due_at,
        why,
        advice,
        act,
        message,
        several="decisions were not carried out",
    )


def _unexplained(message: Message, viewer: _Viewer) -> AttentionItem:
    # A message that was decided outside this desk, though no door past it is open.
    connection = message.connection
    who = f" by {message.upstream_decided_by}" if message.upstream_decided_by else ""
    page = reverse("connection", args=[connection.pk])
    return AttentionItem(
        "unexplained",
        f"{named(message)} was decided outside this desk{who}, and no known way explains it",
        message.decided_elsewhere_at,
        f"No other key of {connection} decides, and no mailed link.",
        "Somebody may have used the desk's oversight key: replace it. This ends after a week.",
        viewer.for_admin(connection, Act("See other ways to send", f"{page}#doors")),
        message,
        whose="an admin",
        several=f"messages of {connection} were decided outside this desk, and no known way explains it",
    )


def _overdue(message: Message, viewer: _Viewer) -> AttentionItem:
    # A message that has expired but was not rejected.
    return AttentionItem(
        "overdue",
        f"{named(message)} has expired but is not rejected",
        message.expires_at,
        "The expiry rule has not run, or it failed: see the worker's log. The message can no longer be approved.",
        "Reject it by hand.",
        viewer.open_page(message, "Open it"),
        message,
        whose=REVIEWER,
        several=f"messages of {message.connection} have expired but are not rejected",
    )


def _connection(connection: Connection, viewer: _Viewer) -> AttentionItem:
    # A connection that is paused or cannot be read.
    freshness = freshness_of(connection, now=viewer.now)
    health = health_of(connection, freshness, now=viewer.now)
    what = f"{connection} cannot be read reliably, and the queue may be incomplete"
    since = connection.failing_since or connection.complete_as_of
    if connection.paused_at:
        what = f"{connection} is paused, so its decisions are not carried out"
        since = connection.paused_at
    elif connection.complete_as_of is None:
        what = f"{connection} has never been read whole"
        since = connection.created_at
    return AttentionItem(
        "connection",
        what,
        since,
        freshness.reason,
        health.advice,
        _button(READ_NOW, "read-connection", connection.pk)
        if connection.pk in viewer.readable
        else None,
        asked=f"The list of held messages at {connection.api_url}",
        asked_at=connection.read_at or connection.created_at,
    )


def _silent_webhook(connection: Connection, viewer: _Viewer) -> AttentionItem:
    # A connection whose webhook does not come, though messages are held.
    return AttentionItem(
        "silent_webhook",
        f"The webhook of {connection} does not come: held mail appears up to half a minute later",
        connection.heard,  # type: ignore[attr-defined]
        "A message was held since, and only a read of MultiMail showed it.",
        "See under Deliveries and tests what MultiMail got as an answer. It must be able to reach the address.",
        viewer.for_admin(
            connection,
            Act(
                "See the webhook",
                f"{reverse('connection', args=[connection.pk])}#webhook",
            ),
        ),
        whose="an admin",
    )


def _below_minimum(mailbox: Mailbox, viewer: _Viewer) -> AttentionItem:
    """Return the item of a mailbox whose oversight mode is looser than the policy's
    minimum, because it was so before, or was set at MultiMail or with an API key.
    """
    since = viewer.policy_since
    also = ""
    if mailbox.allow_looser_per_call:
        also = " and lets a call loosen its own oversight"
    act = None
    if mailbox.is_administered_by(viewer.actor):
        act = Act("See the mailbox", reverse("mailbox", args=[mailbox.pk]))
    return AttentionItem(
        "below_minimum",
        f"{mailbox} is below the policy's minimum oversight",
        max(since, mailbox.mirrored_at or since),
        f"The minimum is {mode_words(viewer.below[mailbox.pk])}; "
        f"the mailbox is {mode_words(mailbox.oversight_mode)}{also}.",
        "An admin of the mailbox can make it stricter.",
        act,
        whose="an admin",
    )


def _gateway_below(connection: Connection, viewer: _Viewer) -> AttentionItem:
    # A gateway at which the policy's minimum oversight could not be set.
    return AttentionItem(
        "below_minimum",
        f"The gateway of {connection} lacks the policy's minimum oversight",
        viewer.policy_since,
        connection.gate_minimum_error or "It could not be brought there yet.",
        "The desk keeps trying. Until then a key with enough rights can loosen a mailbox there by API.",
        Act("See the policy", reverse("policy")),
        whose="an admin",
    )


def _unfetchable(message: Message, viewer: _Viewer) -> AttentionItem:
    # A message whose content was given up after several tries.
    return AttentionItem(
        "unfetchable",
        f"The content of {named(message)} cannot be fetched",
        message.held_at,
        f"The desk tried {message.fetch_tries} times and failed.",
        _UNREAD,
        viewer.ask_again(message, TRY_AGAIN),
        message,
        several=f"contents of {message.connection} cannot be fetched",
    )


def _unread(message: Message, viewer: _Viewer) -> AttentionItem:
    # A message whose content has not arrived for too long.
    connection = message.connection
    what = f"The content of {named(message)} has not arrived yet"
    why = (
        connection.paused_because
        or connection.last_error
        or f"{connection} has not returned it."
    )
    advice = _UNREAD
    several = f"contents of {connection} have not arrived yet"
    if message.read_after is not None:
        mailbox = message.mailbox or connection
        what = f"The content of {named(message)} of {mailbox} is not read yet"
        why = "MultiMail has returned it, but the parser ended over it or had no time for it."
        advice = "The desk tries again by itself, with longer and longer pauses. You can try now."
        several = f"messages of {mailbox} are not read yet"
    return AttentionItem(
        "unread",
        what,
        message.held_at,
        why,
        advice,
        viewer.ask_again(message, TRY_AGAIN),
        message,
        several=several,
    )


def _not_taken(message: Message, viewer: _Viewer) -> AttentionItem:
    # An approved message that the mail server refuses for now.
    return AttentionItem(
        "not_taken",
        f"{named(message)} was approved, and is not sent",
        message.changed_at,
        f"{message.connection} reports: {message.mail_error}",
        "It is tried again for two days. The operator repairs what the report names: the mail server's "
        "address, the sign-in, the sender, or the name in EHLO; then ./run manage send_again tries at once.",
        viewer.ask_again(message, COMPARE),
        message,
        several=f"messages of {message.connection} were approved, and are not sent",
    )


def _without_word(message: Message, viewer: _Viewer) -> AttentionItem:
    # An approved message that MultiMail has not reported as sent.
    return AttentionItem(
        "silent",
        f"{named(message)} was approved, but MultiMail has not reported it as sent",
        message.changed_at,
        "Its mail server may still be trying, or a webhook was lost.",
        "Compare with MultiMail, or look in the mail server's log.",
        viewer.ask_again(message, COMPARE),
        message,
        several=f"messages of {message.connection} were approved, but MultiMail has not reported them as sent",
    )


def _event(event: WebhookEvent, viewer: _Viewer) -> AttentionItem:
    # A webhook that could not be applied, or contradicts what is known.
    name = event.name or "without a name"
    connection = event.connection
    labels, page = COMPARE, "compare-event"
    if event.result == WebhookEvent.Result.POISON:
        what = "could not be applied"
        several = what
        why = event.error
        advice = "It is stored: replay it once the cause is fixed, or dismiss it."
        labels, page = REPLAY, "replay-event"
    elif event.result == WebhookEvent.Result.REFUTED:
        what = "reported what a read of MultiMail contradicts"
        several = "reported what reads of MultiMail contradict"
        why = "It was signed with the connection's secret. The desk goes by the read, and nothing was closed by it."
        advice = (
            "If nobody here sent it, the secret has leaked: change it on the connection's page and end the old one "
            "at once. Comparing once more also dismisses the webhook."
        )
    else:
        what = "contradicts what is known about its message"
        several = "contradict what is known about their messages"
        why = "The message already had another outcome, and MultiMail did not say which is right."
        advice = "Compare with MultiMail. This also dismisses the webhook."
    return AttentionItem(
        event.result,
        f"A webhook ({name}) of {connection} {what}",
        event.received_at,
        why,
        advice,
        viewer.for_admin(connection, _button(labels, page, event.pk)),
        event=event,
        whose="an admin",
        several=f"webhooks ({name}) of {connection} {several}",
    )


def _unsigned(connection: Connection, viewer: _Viewer) -> AttentionItem:
    # A connection that got webhooks without a valid signature.
    number = connection.unsigned_count
    address = f"{reverse('connection', args=[connection.pk])}#webhook"
    return AttentionItem(
        "unsigned",
        f"{number} webhook{'s' if number != 1 else ''} to {connection} had no valid signature in the last day",
        connection.unsigned_since,
        "They were refused, and nothing of them was stored.",
        "If MultiMail sent them, the desk has another signing secret than MultiMail: change it. If not, somebody "
        "knows the webhook's address. This ends a day after the last of them.",
        viewer.for_admin(connection, Act("See the webhook", address)),
        whose="an admin",
        number=number,
    )


def _broken_ledger(check: Check, viewer: _Viewer) -> AttentionItem:
    # A verification of the ledger that failed.
    return AttentionItem(
        "ledger_broken",
        "The ledger failed verification",
        check.ended_at or check.started_at,
        (check.findings or ["No reason was recorded."])[0],
        "Change nothing. Copy the database and the seals' file, and read all findings.",
        Act("See the findings", reverse("ledger-state")),
        whose=OPERATOR,
    )


def _in_doubt(decision: Decision, viewer: _Viewer) -> AttentionItem:
    # A decision whose effect is not known.
    message = decision.message
    connection = message.connection
    why = decision.explanation
    whose = REVIEWER
    if decision.state == DecisionState.UNKNOWN:
        what = f"It is not known whether {named(message)} was {decision.word}"
        why = why or "MultiMail did not answer."
        if (
            decision.is_approval
            and decision.has_been_read_as_held
            and not connection.repeats_unknown_approvals
        ):
            why += " Two complete reads showed it still held, so the call most likely had no effect."
            advice = (
                "Read it again, then send it again. The desk never does this by itself."
            )
            act = viewer.open_page(message, "Read it, then send again")
            several = f"approvals through {connection} may not have taken effect"
        else:
            advice = "The desk checks every few seconds. You can check now."
            act = viewer.ask_again(message, CHECK_AGAIN)
            whose = REVIEWER_OR_ADMIN
            several = (
                f"decisions through {connection} may or may not have been carried out"
            )
    elif decision.state == DecisionState.UNATTRIBUTED:
        what = f"{named(message)} was decided; by whom is not known"
        advice = "Look it up at MultiMail, then record on its page what happened."
        act = viewer.open_page(message, "Record what happened")
        several = f"messages of {connection} were decided; by whom is not known"
    else:
        ends = "sent" if decision.is_approval else "rejected"
        what = f"{named(message)} may still be {ends}"
        why = why or "It was withdrawn after the call to MultiMail may have been made."
        several = f"messages of {connection} may still be {ends}"
        if message.is_held and decision.is_approval:
            advice = "Reject it at MultiMail. Whichever decision arrives first counts."
            act = viewer.open_page(message, "Reject at MultiMail")
        elif message.state == MessageState.GONE:
            advice = "MultiMail no longer holds it. Look it up there, then record on its page what happened."
            act = viewer.open_page(message, "Record what happened")
        else:
            advice = "The desk keeps checking. You can check now."
            act = viewer.ask_again(message, CHECK_AGAIN)
            whose = REVIEWER_OR_ADMIN
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


def _refused(decision: Decision, viewer: _Viewer) -> AttentionItem:
    # A decision that was not carried out, so that its message is held again.
    message = decision.message
    when = time_in_words(decision.later_at, decision.later_zone)
    chosen = f"{decision.giver} approved it for {when}. " if when else ""
    return AttentionItem(
        "refused",
        f"{named(message)} was {decision.word}, and is held again",
        decision.changed_at,
        f"{chosen}{decision.explanation}",
        "Nothing was sent. Read it again, then decide again.",
        viewer.open_page(message, "Read again"),
        message,
        whose=REVIEWER,
        several=f"messages of {message.connection} were decided, and are held again",
    )


def _half_replaced(edit: Replacement, viewer: _Viewer) -> AttentionItem:
    # An edit after which both versions of a message are held, or may be.
    message = edit.message
    both = f"{named(message)} and its edited version are both held"
    if edit.upstream_id:
        what = both
        why = (
            f"{edit.person} sent an edited version, and the original was not rejected."
        )
        advice = "Reject one of them on its page."
    else:
        what = f"It is not known whether {both}"
        why = (
            "The worker that sent the edited version stopped before MultiMail answered."
        )
        advice = "The desk repeats the call, which sends nothing twice. You can try now on its page."
    return AttentionItem(
        "replaced",
        what,
        edit.created_at,
        edit.problem or why,
        advice,
        viewer.open_page(message, "Open the original"),
        message,
        whose=REVIEWER,
    )
