"""Compares the rows that the report counts, which no seal covers, with the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import CharField, Exists, F, OuterRef, Q, QuerySet
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from approvals.models import Decision, Verdict
from approvals.reports.decisions import Month
from audit.models import Entry
from audit.search.filters import Filters
from audit.search.results import matching
from common.actors import Actor, Role
from mirror.models import Message

# How many messages are named; the rest is counted.
MOST_NAMED = 20


@dataclass(frozen=True)
class Comparison:
    """How many verdicts and decisions were compared, and the messages on which rows and
    ledger differ.
    """

    compared: int
    number: int
    differing: Sequence[Message]


def compare_with_ledger(actor: Actor, month: Month) -> Comparison:
    """Compare a month's verdicts and decisions, where the actor is admin or auditor,
    with their ledger entries.
    """
    looking = actor.acting_as(Role.ADMIN, Role.AUDITOR)
    mine = Message.objects.visible_to(looking)
    verdicts = Verdict.objects.filter(
        message__in=mine, given_at__gte=month.since, given_at__lt=month.until
    )
    made = Decision.objects.visible_to(looking).between(month.since, month.until)
    differing = _not_recorded(
        verdicts,
        _recorded_as(
            "verdict.given",
            actor_kind="person",
            actor_id=Cast(OuterRef("person"), CharField()),
        ),
    )
    differing |= _not_recorded(made, _recorded_as("decision.recorded"))
    # Messages for which the ledger has a verdict or a decision without a row.
    same = {"message__public_id": OuterRef("message"), "outcome": OuterRef("outcome")}
    rows: dict[str, QuerySet[Any]] = {
        "verdict.given": Verdict.objects.annotate(
            giver=Cast("person", CharField())
        ).filter(giver=OuterRef("actor_id"), **same),
        "decision.recorded": Decision.objects.filter(**same),
    }
    entries = Entry.objects.exclude(outcome="").filter(
        at__gte=month.since,
        at__lt=month.until,
        message__in=mine.values("public_id"),
    )
    for action, recorded in rows.items():
        lacking = entries.of_action(action).exclude(Exists(recorded))
        differing |= Q(public_id__in=lacking.values(found=F("message")))
    found = mine.filter(differing).order_by("-pk")
    return Comparison(
        verdicts.count() + made.count(), found.count(), list(found[:MOST_NAMED])
    )


def _recorded_as(action: str, **more: Any) -> Exists:
    """Whether an entry of this kind has the same outcome for the same version."""
    # The outcome of older entries is one of their details, and is not known where these
    # were removed.
    entries = Entry.objects.of_action(action).annotate(
        outcome_detail=KeyTextTransform("outcome", "detail__fields")
    )
    same = Q(outcome=OuterRef("outcome")) | Q(
        outcome="", outcome_detail=OuterRef("outcome")
    )
    unknown = Q(outcome="", detail=None)
    about = {
        "message": OuterRef("message__public_id"),
        "fingerprint": OuterRef("revision__fingerprint"),
    }
    return Exists(entries.filter(same | unknown, **about, **more))


def _not_recorded(rows: QuerySet[Any], recorded: Exists) -> Q:
    return Q(pk__in=rows.exclude(recorded).values("message"))


@dataclass(frozen=True)
class Presses:
    """The number of refused attempts, and the URL of these entries in the ledger."""

    number: int
    query: str


def refused_presses(actor: Actor, month: Month) -> Presses:
    """Return the refused attempts that the actor may see in the ledger (relies on
    entry_action).
    """
    asked = f"action=verdict.refused&since={month}&until={month}"
    filters = Filters.from_query(asked, month.zone).pinned()
    found = matching(Entry.objects.readable_by(actor), filters)
    return Presses(found.count(), filters.query())
