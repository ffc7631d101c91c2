"""Measures whether approvals were faster than a person can read. It is shown to admins, and stops nobody.

A message cannot be read faster than 60 characters a second, about ten words, nor at all in less than 2 seconds.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from django.db.models.functions import Now

from approvals.models import Verdict
from mirror.models import Message
from mirror.states import Outcome
from people.actors import Actor, Role

SHORTEST = 2.0
CHARACTERS_A_SECOND = 60
PERIOD = timedelta(days=7)
LOOKED_AT = 2000


@dataclass(frozen=True)
class Pace:
    """How fast one person approved lately. `fast` counts approvals too quick to have read; `median` in seconds."""

    person: str
    approvals: int
    fast: int
    median: float
    latest: datetime


def reading_seconds(content: dict[str, object]) -> float:
    """Return the shortest time in which a person can have read this content."""
    characters = sum(len(str(content.get(name) or "")) for name in ("subject", "markdown"))
    if not content.get("markdown"):
        # Markup is not read; about half of an HTML message is text.
        characters += len(str(content.get("html") or "")) // 2
    return max(SHORTEST, characters / CHARACTERS_A_SECOND)


def paces_for(actor: Actor) -> list[Pace]:
    """Return the pace of each person who approved too fast to have read, where the actor is an admin; worst first."""
    verdicts = Verdict.objects.filter(
        message__in=Message.objects.visible_to(actor.acting_as(Role.ADMIN)),
        outcome=Outcome.APPROVE,
        given_at__gt=Now() - PERIOD,
        seconds_shown__isnull=False,
    )
    by_person: dict[str, list[Verdict]] = {}
    for verdict in verdicts.select_related("person", "revision").order_by("-pk")[:LOOKED_AT]:
        by_person.setdefault(str(verdict.person), []).append(verdict)
    paces = [_pace(person, group) for person, group in by_person.items()]
    return sorted((pace for pace in paces if pace.fast), key=lambda pace: -pace.fast / pace.approvals)


def _pace(person: str, verdicts: list[Verdict]) -> Pace:
    fast = [one for one in verdicts if (one.seconds_shown or 0) < reading_seconds(one.revision.content)]
    return Pace(
        person=person,
        approvals=len(verdicts),
        fast=len(fast),
        median=float(median(one.seconds_shown or 0 for one in verdicts)),
        latest=max(one.given_at for one in fast or verdicts),
    )
