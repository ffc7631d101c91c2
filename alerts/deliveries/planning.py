"""Plans deliveries: decides for each act in the ledger which destinations receive what
about it, and makes the rows of cards and deliveries.

This app listens to the ledger; nobody calls it to announce something. An act and the
note that it has to be planned (`UnplannedAct`) are committed together. A worker plans
the act a moment later.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from alerts import tasks
from alerts.cards.message import read_message
from alerts.channels import channel_of
from alerts.deliveries.event_bodies import event_body, event_id
from alerts.ledger_events import BRAKE, ENDS, EVENTS, HELD, about_key
from alerts.models import Card, Delivery, Destination, Route, UnplannedAct
from alerts.models.deliveries import UNDO_PAUSE
from alerts.models.destinations import one_spelling
from audit.models import Entry
from common.postgres import take_lock
from mirror.models import Mailbox, Message
from notices import planning as notices
from people.models import Person

log = logging.getLogger(__name__)

# In seconds, until a worker plans an act. What MultiMail reports after a decision, and
# the content of a held message, arrive within moments: all of it is planned at once,
# and one post of a card shows it.
PLAN_PAUSE = 2.0
# Content that arrives later than that edits the card, which so far shows no content and
# has no buttons.
FETCHED = "message.fetched"
# Actions that update an existing card. Which of them make a new card, a destination's
# routes say.
CARD_ACTIONS = """
message.fetched message.held message.changed message.named message.expiring message.late message.extended
message.assigned message.approved message.released message.rejected message.sent
message.delivered message.bounced message.complained message.failed message.cancelled
message.gone approval.recorded verdict.taken_back decision.recorded decision.undone
decision.applied decision.refused decision.superseded decision.without_effect
decision.unknown decision.unattributed decision.found_again decision.confirmed
decision.withdrawn decision.left_after_all claim.taken claim.released
""".split()
# Actions that never make a new card, even if a route names them.
UPDATES_ONLY = (
    *ENDS,
    *"""
message.fetched message.named message.extended message.assigned claim.taken
claim.released
""".split(),
)
# A step of a review plan asks destinations for help.
LATE = "message.late"
# A held message turned out to be part of a flood.
SET_APART = "message.set_apart"
# Actions that are planned for destinations. Those of alerts themselves are not among
# them: otherwise each delivery would cause another one.
_FOR_DESTINATIONS = frozenset(
    (*CARD_ACTIONS, *ENDS, *(action for event in EVENTS for action in event.actions))
)
# All actions that are planned.
PLANNED_ACTIONS = _FOR_DESTINATIONS | notices.ACTIONS | {SET_APART}
# How many acts are planned in one transaction, and for how long an act that cannot be
# planned is tried again.
AT_ONCE = 50
TRIED_FOR = timedelta(minutes=10)
# Actions that make a card in the channel where the message began.
ANSWERED = """
message.approved message.rejected message.delivered message.bounced message.failed
""".split()


@dataclass(frozen=True)
class Act:
    """An act in the ledger, and what it is about."""

    entry: Entry
    message: Message | None
    # What it is about if it is about no message, such as "connection/4".
    about: str
    # The key of the mailbox, if there is one.
    mailbox: int | None


# By the keys of a destination and of a message, and what they are about.
_Cards = dict[tuple[int, int | None, str], Card]


def on_recorded(entry: Entry, about: Any = None, **_: Any) -> None:
    """Store that an act has to be planned, in the transaction of the act. Planning
    comes later, so that an error in it cannot roll the act back.
    """
    if entry.action in PLANNED_ACTIONS:
        person = about.pk if isinstance(about, Person) else None
        UnplannedAct.objects.create(entry=entry.pk, person=person)
        can_be_undone = entry.action == "decision.recorded" and entry.surface == "web"
        pause = UNDO_PAUSE if can_be_undone else PLAN_PAUSE
        # One task plans all acts of this time.
        tasks.plan.apply_async_on_commit((), countdown=pause, once=True)


def plan_waiting() -> int:
    """Plan all acts that are not planned yet, in the order of the ledger; return how
    many were planned. One that fails is logged, and the sweep tries it again.
    """
    planned = 0
    waiting = UnplannedAct.objects.order_by("pk").values_list("pk", flat=True)
    keys = list(waiting[:AT_ONCE])
    while keys:
        planned += _plan_some(keys)
        if len(keys) < AT_ONCE:
            # Acts that were recorded meanwhile have tasks of their own.
            break
        keys = list(waiting.filter(pk__gt=keys[-1])[:AT_ONCE])
    return planned


@transaction.atomic
def _plan_some(keys: Collection[int]) -> int:
    # Only one worker plans at a time, so that the deliveries of a message are in the
    # order of its acts.
    take_lock("planning of alerts")
    waiting = UnplannedAct.objects.filter(pk__in=keys)
    people = dict(waiting.values_list("entry", "person"))
    entries = list(Entry.objects.with_details().filter(pk__in=people).order_by("pk"))
    if not entries:
        # Another worker has planned them meanwhile.
        return 0
    planned = _plan_entries(entries, people, list(Destination.objects.for_planning()))
    waiting.filter(Q(pk__in=planned) | Q(recorded_at__lt=Now() - TRIED_FOR)).delete()
    return len(planned)


def _plan_entries(
    entries: Sequence[Entry],
    people: Mapping[int, int | None],
    destinations: Collection[Destination],
) -> list[int]:
    """Plan these entries and return the keys of those that were planned. If one fails,
    each is planned by itself.
    """
    try:
        with transaction.atomic():
            plan(entries, destinations)
            for entry in entries:
                notices.plan(entry, people[entry.pk])
    except Exception:
        if len(entries) > 1:
            return [
                key
                for entry in entries
                for key in _plan_entries([entry], people, destinations)
            ]
        [entry] = entries
        log.exception(
            "alert not planned", extra={"entry": entry.pk, "action": entry.action}
        )
        return []
    return [entry.pk for entry in entries]


def plan(entries: Collection[Entry], destinations: Collection[Destination]) -> None:
    """Make the rows of what each destination receives about committed acts, and wake
    workers to deliver them.

    Destinations and routes that are newer than an act receive nothing about it.
    """
    _drop_cards([one for one in entries if one.action == SET_APART])
    acts = read_acts([one for one in entries if one.action in _FOR_DESTINATIONS])
    acts = [act for act in acts if act.message or act.about]
    if not acts or not destinations:
        return
    unsent = Delivery.objects.filter(card=OuterRef("pk"), state="due")
    of_acts = Q(message__in=[one.message for one in acts if one.message])
    of_acts |= Q(message=None, about__in=[one.about for one in acts if one.about])
    existing = Card.objects.filter(of_acts, destination__in=destinations)
    cards: _Cards = {
        (one.destination_id, one.message_id, one.about): one
        for one in existing.annotate(is_due=Exists(unsent))
    }
    deliveries: list[Delivery] = []
    # Several acts are mostly about the same message.
    read = cache(read_message)
    for act in acts:
        told = [one for one in destinations if one.told_since <= act.entry.at]
        interested = [
            one
            for one in told
            if any(
                route.since <= act.entry.at and asks(route, act)
                for route in one.routes.all()
            )
        ]
        deliveries += _of_cards(act, told, interested + _answering(act, told), cards)
        for one in interested:
            if not _has_cards(one):
                message = read(act.message.pk) if act.message else None
                body = event_body(act.entry, message, one)
                event = {"event_id": event_id(act.entry), "request": body}
                deliveries.append(_delivery(act, "event", one, **event))
            if act.entry.action == LATE and one.mentions:
                deliveries.append(_delivery(act, "mention", one))
    Card.objects.bulk_create(card for card in cards.values() if card.pk is None)
    Delivery.objects.bulk_create(deliveries, ignore_conflicts=True)
    # Those with the most failures in a row come last.
    in_turn = sorted(destinations, key=lambda one: one.failures)
    waiting = {one.destination_id for one in deliveries}
    if keys := [one.pk for one in in_turn if one.pk in waiting]:
        # One task for all destinations costs less than a task for each.
        tasks.drain.delay_on_commit(*keys)


def _of_cards(
    act: Act,
    told: Collection[Destination],
    interested: Collection[Destination],
    cards: _Cards,
) -> list[Delivery]:
    """Return the deliveries of the act's cards, and add the cards that are missing. A
    card with a due delivery needs no other: it is built when it is sent, and shows this
    act too.
    """
    # The messages of a flood have no cards of their own; the flood has one.
    may_be_new = act.message is None or act.message.review.brake_id is None
    deliveries = []
    for one in told:
        key = (one.pk, act.message.pk if act.message else None, act.about)
        if key not in cards and may_be_new and one in interested and _has_cards(one):
            cards[key] = Card(destination=one, message=act.message, about=act.about)
        card = cards.get(key)
        if card is None or getattr(card, "is_due", False):
            continue
        if act.entry.action != FETCHED or card.revision_shown is None:
            vars(card)["is_due"] = True
            deliveries.append(_delivery(act, "card", one, card=card))
    return deliveries


def _delivery(act: Act, kind: str, destination: Destination, **more: Any) -> Delivery:
    return Delivery(
        kind=kind,
        destination=destination,
        message=act.message,
        entry=act.entry.pk,
        action=act.entry.action,
        trace=act.entry.trace,
        **more,
    )


def read_acts(entries: Collection[Entry]) -> list[Act]:
    """Return what these entries are about, which were read `with_details`."""
    public_ids = [entry.message for entry in entries if entry.message]
    messages = (
        Message.objects.filter(public_id__in=public_ids)
        .select_related("review")
        .only("public_id", "trigger", "mailbox", "subject", "review__brake")
    )
    by_id = {one.public_id: one for one in messages}
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
        message = by_id.get(entry.message) if entry.message else None
        about = "" if entry.message else about_key(entry)
        address = entry.details.get("mailbox", "")
        mailbox = by_address.get((entry.connection or 0, address))
        mailbox = message.mailbox_id if message else mailbox
        acts.append(Act(entry, message, about, mailbox))
    return acts


def asks(route: Route, act: Act) -> bool:
    """Whether a route includes an act: its action, and its connection or mailbox."""
    action = act.entry.action
    connection = act.entry.connection
    actions = {action}
    if action == BRAKE and _has_cards(route.destination):
        # A destination with cards about held messages gets the card of a flood too.
        actions.add(HELD)
    if action in UPDATES_ONLY or not actions.intersection(route.actions):
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
    """Return the destinations that show what became of a message in the channel where it
    began: those set to answer this channel.
    """
    if act.message is None or act.entry.action not in ANSWERED:
        return []
    trigger = act.message.trigger
    channels = (trigger.get("discord_channel"), trigger.get("discord_channel_id"))
    began_in = {one_spelling(str(name)) for name in channels if name} - {""}
    return [one for one in destinations if one.answers_channel in began_in]


def _drop_cards(set_apart: Collection[Entry]) -> None:
    """Delete the cards of messages that turned out to be part of a flood, except those
    that may have been posted.
    """
    if not set_apart:
        return
    unposted = Card.objects.filter(
        message__public_id__in=[one.message for one in set_apart], post_id=""
    )
    deliveries = (
        Delivery.objects.filter(card__in=list(unposted))
        .order_by("pk")
        .select_for_update()
    )
    may_be_posted = [
        one.card_id
        for one in deliveries
        if one.attempts or one.state != Delivery.State.DUE
    ]
    unposted.exclude(pk__in=may_be_posted).delete()
