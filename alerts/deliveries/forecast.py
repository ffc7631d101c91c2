"""What will be sent to whom about a message if nobody acts: the steps ahead of its review
plan, by the ways that each person wants, and what is due already. Nothing is sent here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import TextChoices

from alerts.deliveries.mentions import chat_of
from alerts.deliveries.personal import KINDS
from alerts.deliveries.planning import Act, asks
from alerts.models import Delivery, Destination
from approvals.escalation.handling import StepAhead, steps_ahead
from audit.models import Entry
from mirror.models import Message
from notices.models import Cause, Notice
from notices.preferences import (
    after_quiet_time,
    comes_in_quiet_time,
    is_on_desk,
    preferences_of,
    wants_chat,
    ways_of,
)
from people.models import Person
from policy.models import LadderStep


class Kind(TextChoices):
    """What happens: somebody gets the message, is told of it by some way, or it ends."""

    ASSIGN = "assign", "Assigned to {}"
    NOTICE = "notice", "Notice on the desk to {}"
    PUSH = "push", "Push to {}"
    MAIL = "mail", "Mail to {}"
    CHAT = "chat", "Mention in the chat: {}"
    ALERT = "alert", "Alert to {}"
    EXPIRE = "expire", "It expires, and is rejected"


@dataclass(frozen=True)
class Expected:
    """What happens at a time, to these people or destinations, by name."""

    at: datetime
    kind: Kind
    names: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What happens, for pages."""
        return str(self.kind.label).format(", ".join(self.names))


def forecast(message: Message, now: datetime) -> list[Expected]:
    """Return what happens if nobody acts, the earliest first. A message without a key is
    a sample of what a review plan does.
    """
    told = list(_due(message)) if message.pk is not None else []
    for step in steps_ahead(message, now):
        if not step.people:
            told += [(step.at, Kind.ALERT, one) for one in _alerted(message)]
        for person in step.people:
            told += _told(person, step, message)
    if message.expires_at is not None:
        told.append((max(message.expires_at, now), Kind.EXPIRE, ""))
    names: dict[tuple[datetime, Kind], dict[str, None]] = {}
    for at, kind, name in told:
        names.setdefault((at, kind), {})[name] = None
    order = list(Kind)
    return [
        Expected(at, kind, tuple(filter(None, names[at, kind])))
        for at, kind in sorted(names, key=lambda one: (one[0], order.index(one[1])))
    ]


# When, what, and the name of whom it is for.
_Told = tuple[datetime, Kind, str]


def _due(message: Message) -> Iterator[_Told]:
    """Yield what people are told for what happened already, and they have not read."""
    due = Delivery.objects.filter(
        message=message,
        kind=Delivery.Kind.NOTICE,
        state=Delivery.State.DUE,
        notice__in=Notice.objects.open().filter(read_at=None),
    )
    for one in due.select_related("destination__owner"):
        [way] = [way for way, kind in KINDS.items() if kind == one.destination.kind]
        owner: Any = one.destination.owner
        at = one.next_attempt_at
        if not one.in_quiet_time:
            at = after_quiet_time(at, preferences_of(owner))
        yield at, Kind(way), str(owner)


def _told(person: Person, step: StepAhead, message: Message) -> Iterator[_Told]:
    """Yield by which ways a step tells a person, and when."""
    name = str(person)
    is_assigned = step.act == LadderStep.Act.ASSIGN
    cause = Cause.ASSIGNED if is_assigned else Cause.REMINDED
    if is_assigned:
        yield step.at, Kind.ASSIGN, name
    elif is_on_desk(person, cause):
        yield step.at, Kind.NOTICE, name
    if message.pk is not None and wants_chat(person, cause):
        chat = chat_of(person, message.pk)
        if chat is not None:
            yield step.at, Kind.CHAT, f"{name} ({chat})"
    for way, at in ways_of(person, cause, step.at).items():
        if not comes_in_quiet_time(cause, way, is_last=step.is_last):
            at = after_quiet_time(at, preferences_of(person))
        own = Destination.objects.filter(owner=person, kind=KINDS[way])
        # The first mail makes the destination.
        is_first_mail = way == "mail" and not own.exists()
        is_on = is_first_mail or own.filter(switched_off_at=None).exists()
        if is_on and (way != "mail" or settings.EMAIL_URL):
            yield at, Kind(way), name


def _alerted(message: Message) -> list[str]:
    """Return the names of the destinations that are told that a message is late."""
    entry = Entry(action="message.late", connection=message.connection_id)
    act = Act(entry, message, "", message.mailbox_id)
    return [
        one.name
        for one in Destination.objects.for_planning().defer(None)
        if any(asks(route, act) for route in one.routes.all())
    ]
