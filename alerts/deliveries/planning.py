"""Plans deliveries from what the ledger records, in the same transaction; nobody calls this app to announce things."""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from alerts import tasks
from alerts.channels import channel_of
from alerts.ledger_events import BRAKE, ENDS, EVENTS, HELD, about_key
from alerts.models import Card, Delivery, Destination, MissedAct, Route
from alerts.models.destinations import one_spelling
from audit.models import Entry
from mirror.models import Mailbox, Message

log = logging.getLogger(__name__)

# A held card waits this long for the content, so that one post shows the fingerprint and the risk too.
CONTENT_PAUSE = timedelta(seconds=1)
# Content that arrives later edits a card that shows nothing of it, and so has no buttons.
FETCHED = "message.fetched"
# What changes an existing card. A destination's routes say which of these make a new one.
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
    "practice.ended",
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
# What makes no card whatever a route says: the content, what is long past, who claimed a message, or an end.
UPDATES_ONLY = (
    *(FETCHED, "message.named", "message.extended", "message.assigned", "claim.taken", "claim.released"),
    *ENDS,
)
# Alerts' own actions are not among these; otherwise each delivery would cause another one.
PLANNED_ACTIONS = frozenset((*CARD_ACTIONS, *ENDS, *(action for event in EVENTS for action in event.actions)))
# What is answered in the channel whose command started the message.
ANSWERED = ("message.approved", "message.rejected", "message.delivered", "message.bounced", "message.failed")

SET_APART = "message.set_apart"


Recorded = tuple[Entry, Mapping[str, str]]


@dataclass(frozen=True)
class Act:
    """An act of the ledger, and what it is about: a message, or what has a card by the key `about`."""

    entry: Entry
    message: Message | None
    about: str
    mailbox: int | None


def on_recorded(entry: Entry, details: Mapping[str, str], about: Any = None, **_: Any) -> None:
    """Plan what an entry asks for. A mistake here is logged, never costs the act, and the sweep plans it again."""
    if entry.action == SET_APART:
        _drop_cards(entry)
    if entry.action not in PLANNED_ACTIONS:
        return
    message = about if isinstance(about, Message) else getattr(about, "message", None)
    # A message that is only being made has no key yet.
    known = [message] if isinstance(message, Message) and message.pk else []
    try:
        with transaction.atomic():
            there = list(Destination.objects.for_planning())
            if not there:
                return
            [act] = read_acts([(entry, details)], known=known)
            destinations = plan(act, there)
    except Exception:
        log.exception("alert not planned", extra={"entry": entry.pk, "action": entry.action})
        MissedAct.objects.create(entry=entry.pk)
        return
    if destinations:
        countdown = CONTENT_PAUSE.total_seconds() + 0.05 if entry.action == HELD else None
        # One task for all of them, which costs less than a task for each.
        tasks.drain.apply_async_on_commit((",".join(map(str, destinations)),), countdown=countdown)


def plan(act: Act, there: Iterable[Destination]) -> list[int]:
    """Plan what each destination wants of an act, in the caller's transaction; return the keys of those to wake.

    Those that fail come last.
    """
    entry = act.entry
    destinations = list(there) if act.message or act.about else []
    asking = [one for one in destinations if any(asks(route, act) for route in one.routes.all())]
    made = [Card(destination=one, message=act.message, about=act.about) for one in asking if _has_cards(one)]
    # A message of a flood has no card: the flood has one.
    if made and (act.message is None or act.message.review.brake_id is None):
        # If another act is making the same card, this waits until that one is committed.
        Card.objects.bulk_create(made, ignore_conflicts=True)
    pause = CONTENT_PAUSE if entry.action == HELD else timedelta(0)
    due: dict[str, Any] = {
        "message": act.message,
        "entry": entry.pk,
        "action": entry.action,
        "trace": entry.trace,
        "next_attempt_at": Now() + pause,
    }
    cards = _cards_to_send(act, destinations)
    deliveries = [
        *(Delivery(kind="card", destination_id=card.destination_id, card=card, **due) for card in cards),
        *(Delivery(kind="answer", destination=one, **due) for one in _answering(act, destinations)),
        *(Delivery(kind="event", destination=one, **due) for one in asking if not _has_cards(one)),
    ]
    Delivery.objects.bulk_create(deliveries, ignore_conflicts=True)
    planned = {one.destination_id for one in deliveries}
    return [one.pk for one in sorted(destinations, key=lambda one: one.failures) if one.pk in planned]


def read_acts(recorded: Collection[Recorded], *, known: Collection[Message] = ()) -> list[Act]:
    """Return what these entries with their details are about; `known` are messages that the caller has read."""
    by_id = {one.public_id: one for one in known}
    unknown = [entry.message for entry, _ in recorded if entry.message and entry.message not in by_id]
    messages = Message.objects.filter(public_id__in=unknown)
    by_id |= {one.public_id: one for one in messages.only("public_id", "trigger", "mailbox", "subject")}
    # What is about no message names its mailbox in its details, if it has one.
    named = [details["mailbox"] for entry, details in recorded if not entry.message and "mailbox" in details]
    mailboxes = Mailbox.objects.filter(address__in=named)
    by_address = {(one.connection_id, one.address): one.pk for one in mailboxes}
    acts = []
    for entry, details in recorded:
        if entry.message:
            message = by_id.get(entry.message)
            acts.append(Act(entry, message, "", message.mailbox_id if message else None))
        else:
            mailbox = by_address.get((entry.connection or 0, details.get("mailbox", "")))
            acts.append(Act(entry, None, about_key(entry, brake=details.get("brake", "")), mailbox))
    return acts


def asks(route: Route, act: Act) -> bool:
    """Whether a route asks for an act: by its action, and by where that happened."""
    action, connection = act.entry.action, act.entry.connection
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
    return act.about.startswith("connection/") and route.mailbox.connection_id == connection


def _has_cards(destination: Destination) -> bool:
    return channel_of(destination.kind).posts_cards


def _cards_to_send(act: Act, destinations: Collection[Destination]) -> list[Card]:
    """Return the cards that have to be posted or edited, except those for which a delivery is due anyway.

    That is locked, so that no worker claims it and builds the card from before this act, until this act is committed:
    always in one order, as two acts may lock the same ones.
    """
    cards = Card.objects.filter(destination__in=destinations, message=act.message, about=act.about).order_by("pk")
    if act.entry.action == FETCHED:
        cards = cards.filter(revision_shown=None)
    due = Delivery.objects.filter(card__in=list(cards), state="due").order_by("card", "pk").select_for_update()
    waiting = set(due.values_list("card", flat=True))
    return [card for card in cards if card.pk not in waiting]


def _answering(act: Act, destinations: Collection[Destination]) -> list[Destination]:
    """Return what answers in the channel where the message began: what names it, or else the first that posts there."""
    if act.message is None or act.entry.action not in ANSWERED:
        return []
    named = (act.message.trigger.get(name) for name in ("discord_channel", "discord_channel_id"))
    began_in = {one_spelling(str(name)) for name in named if name} - {""}
    mapped = [one for one in destinations if one.answers_channel and _has_cards(one)]
    answering = [one for one in mapped if one_spelling(one.answers_channel) in began_in]
    return answering or [one for one in mapped if (one.channel or one.posts_in) in began_in][:1]


def _drop_cards(entry: Entry) -> None:
    """Drop the cards of a message that turned out to be one of a flood, where nothing can have been posted."""
    unposted = Card.objects.filter(message__public_id__in=[entry.message], discord_message_id="")
    deliveries = Delivery.objects.filter(card__in=list(unposted)).order_by("pk").select_for_update()
    tried = [one.card_id for one in deliveries if one.state != Delivery.State.DUE]
    unposted.exclude(pk__in=tried).delete()
