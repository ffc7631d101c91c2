"""Plans deliveries from what the ledger records; nobody calls this app to announce
things.

An act and the note that it has to be planned are committed together; a worker plans it
a moment later.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from alerts import tasks
from alerts.channels import channel_of
from alerts.ledger_events import BRAKE, ENDS, EVENTS, HELD, about_key
from alerts.models import Card, Delivery, Destination, Route, UnplannedAct
from alerts.models.destinations import one_spelling
from audit.models import Entry
from common.postgres import take_lock
from mirror.models import Mailbox, Message

log = logging.getLogger(__name__)

# A held card waits this long for the content, so that one post shows the fingerprint
# and the risk too.
CONTENT_PAUSE = timedelta(seconds=1)
# Seconds until a worker looks for the cards of an act. A decision that is carried out
# makes three acts within a second: one edit shows them all.
CARD_PAUSE = CONTENT_PAUSE.total_seconds() + 0.05
# Content that arrives later edits a card that shows nothing of it, and so has no
# buttons.
FETCHED = "message.fetched"
# What changes an existing card. A destination's routes say which of these make a new
# one.
CARD_ACTIONS = (
    "message.held",
    FETCHED,
    "message.changed",
    "message.named",
    "message.expiring",
    "message.late",
    "message.extended",
    "message.assigned",
    "message.approved",
    "message.released",
    "message.rejected",
    "message.sent",
    "message.delivered",
    "message.bounced",
    "message.complained",
    "message.failed",
    "message.cancelled",
    "message.gone",
    "approval.recorded",
    "verdict.taken_back",
    "decision.recorded",
    "decision.undone",
    "decision.applied",
    "decision.refused",
    "decision.superseded",
    "decision.without_effect",
    "decision.unknown",
    "decision.unattributed",
    "decision.found_again",
    "decision.confirmed",
    "decision.withdrawn",
    "decision.left_after_all",
    "claim.taken",
    "claim.released",
)
# What makes no card whatever a route says: the content, what is long past, who claimed
# a message, or an end.
UPDATES_ONLY = (
    FETCHED,
    "message.named",
    "message.extended",
    "message.assigned",
    "claim.taken",
    "claim.released",
    *ENDS,
)
# Alerts' own actions are not among these; otherwise each delivery would cause another
# one.
PLANNED_ACTIONS = frozenset(
    (*CARD_ACTIONS, *ENDS, *(action for event in EVENTS for action in event.actions))
)
# So many acts are planned in one transaction. What fails for longer is given up: it
# would always fail.
AT_ONCE = 50
TRIED_FOR = timedelta(minutes=10)
# What is answered in the channel whose command started the message.
ANSWERED = (
    "message.approved",
    "message.rejected",
    "message.delivered",
    "message.bounced",
    "message.failed",
)

SET_APART = "message.set_apart"


@dataclass(frozen=True)
class Act:
    """An act of the ledger, and what it is about: a message, or what has a card by the
    key `about`.
    """

    entry: Entry
    message: Message | None
    about: str
    mailbox: int | None


def on_recorded(entry: Entry, **_: Any) -> None:
    """Note with an act that it has to be planned. A mistake in an alert can cost no
    decision and no webhook.
    """
    if entry.action in PLANNED_ACTIONS or entry.action == SET_APART:
        UnplannedAct.objects.create(entry=entry.pk)
        # What is held is read at once, and planned with what that records; where it
        # cannot be read, the sweep plans it.
        if entry.action != HELD:
            tasks.plan.delay_on_commit()


def plan_waiting() -> int:
    """Plan the acts that wait for it, in the order of the ledger, and return how many
    were planned.

    One that fails is logged, and tried again by the sweep.
    """
    planned = 0
    waiting = UnplannedAct.objects.order_by("pk").values_list("pk", flat=True)
    keys = list(waiting[:AT_ONCE])
    while keys:
        planned += _plan_some(keys)
        keys = list(waiting.filter(pk__gt=keys[-1])[:AT_ONCE])
    return planned


@transaction.atomic
def _plan_some(keys: Collection[int]) -> int:
    # One at a time, so that the deliveries of a message stand in the order of its acts.
    take_lock("planning of alerts")
    waiting = UnplannedAct.objects.filter(pk__in=keys)
    planned = []
    for entry in Entry.objects.with_details().filter(pk__in=waiting).order_by("pk"):
        try:
            with transaction.atomic():
                if entry.action == SET_APART:
                    _drop_cards(entry)
                else:
                    plan(entry)
            planned.append(entry.pk)
        except Exception:
            log.exception(
                "alert not planned", extra={"entry": entry.pk, "action": entry.action}
            )
    waiting.filter(Q(pk__in=planned) | Q(recorded_at__lt=Now() - TRIED_FOR)).delete()
    return len(planned)


def plan(entry: Entry) -> None:
    """Plan what each destination wants of a committed act, and have it delivered."""
    there = list(Destination.objects.for_planning(at=entry.at))
    if not there:
        return
    [act] = read_acts([entry])
    if act.message is None and not act.about:
        return
    asking = [
        one for one in there if any(asks(route, act) for route in one.routes.all())
    ]
    made = [
        Card(destination=one, message=act.message, about=act.about)
        for one in asking
        if _has_cards(one)
    ]
    # A message of a flood has no card: the flood has one.
    if made and (act.message is None or act.message.review.brake_id is None):
        Card.objects.bulk_create(made, ignore_conflicts=True)
    is_held = entry.action == HELD
    due: dict[str, Any] = {
        "message": act.message,
        "entry": entry.pk,
        "action": entry.action,
        "trace": entry.trace,
        "next_attempt_at": Now() + (CONTENT_PAUSE if is_held else timedelta(0)),
    }
    cards = Card.objects.filter(
        destination__in=there, message=act.message, about=act.about
    )
    if entry.action == FETCHED:
        cards = cards.filter(revision_shown=None)
    # Whoever claims a delivery that is due anyway builds the card from what is true
    # then, this act included.
    unsent = Delivery.objects.filter(card=OuterRef("pk"), state="due")
    deliveries = [
        Delivery(kind="card", destination_id=card.destination_id, card=card, **due)
        for card in cards.exclude(Exists(unsent)).order_by("pk")
    ]
    deliveries += [
        Delivery(kind="answer", destination=one, **due)
        for one in _answering(act, there)
    ]
    deliveries += [
        Delivery(kind="event", destination=one, **due)
        for one in asking
        if not _has_cards(one)
    ]
    Delivery.objects.bulk_create(deliveries, ignore_conflicts=True)
    # Those that fail come last.
    in_turn = [one.pk for one in sorted(there, key=lambda one: one.failures)]
    for waits, pause in ((False, None), (True, CARD_PAUSE)):
        wanted = {
            one.destination_id
            for one in deliveries
            if (is_held or one.kind == "card") == waits
        }
        if keys := [str(key) for key in in_turn if key in wanted]:
            # One task for all of them, which costs less than a task for each.
            tasks.drain.apply_async_on_commit((",".join(keys),), countdown=pause)


def read_acts(entries: Collection[Entry]) -> list[Act]:
    """Return what these entries are about, which were read `with_details`."""
    messages = Message.objects.filter(
        public_id__in=[entry.message for entry in entries if entry.message]
    )
    by_id = {
        one.public_id: one
        for one in messages.only("public_id", "trigger", "mailbox", "subject")
    }
    # What is about no message names its mailbox in its details, if it has one.
    named = [
        one.details["mailbox"]
        for one in entries
        if not one.message and "mailbox" in one.details
    ]
    mailboxes = Mailbox.objects.filter(address__in=named)
    by_address = {(one.connection_id, one.address): one.pk for one in mailboxes}
    acts = []
    for entry in entries:
        if entry.message:
            message = by_id.get(entry.message)
            mailbox = message.mailbox_id if message else None
            acts.append(Act(entry, message, "", mailbox))
        else:
            address = entry.details.get("mailbox", "")
            mailbox = by_address.get((entry.connection or 0, address))
            acts.append(Act(entry, None, about_key(entry), mailbox))
    return acts


def asks(route: Route, act: Act) -> bool:
    """Whether a route asks for an act: by its action, and by where that happened."""
    action = act.entry.action
    connection = act.entry.connection
    wanted = {action}
    if action == BRAKE and _has_cards(route.destination):
        # Whoever is told of held messages by cards is told of a flood of them too.
        wanted.add(HELD)
    if action in UPDATES_ONLY or not wanted.intersection(route.actions):
        return False
    if route.connection_id not in (None, connection):
        return False
    if route.mailbox is None or route.mailbox_id == act.mailbox:
        return True
    # A route of a mailbox includes what happens to its connection.
    return (
        act.about.startswith("connection/")
        and route.mailbox.connection_id == connection
    )


def _has_cards(destination: Destination) -> bool:
    return channel_of(destination.kind).posts_cards


def _answering(act: Act, destinations: Collection[Destination]) -> list[Destination]:
    """Return what answers in the channel where the message began: what names it, or
    else the first that posts there.
    """
    if act.message is None or act.entry.action not in ANSWERED:
        return []
    trigger = act.message.trigger
    named = (trigger.get("discord_channel"), trigger.get("discord_channel_id"))
    began_in = {one_spelling(str(name)) for name in named if name} - {""}
    mapped = [one for one in destinations if one.answers_channel and _has_cards(one)]
    answering = [one for one in mapped if one_spelling(one.answers_channel) in began_in]
    posting = [one for one in mapped if (one.channel or one.posts_in) in began_in]
    return answering or posting[:1]


def _drop_cards(entry: Entry) -> None:
    """Drop the cards of a message that turned out to be one of a flood, where nothing
    can have been posted.
    """
    unposted = Card.objects.filter(
        message__public_id__in=[entry.message], discord_message_id=""
    )
    deliveries = (
        Delivery.objects.filter(card__in=list(unposted))
        .order_by("pk")
        .select_for_update()
    )
    tried = [one.card_id for one in deliveries if one.state != Delivery.State.DUE]
    unposted.exclude(pk__in=tried).delete()
