"""The report of decisions: those of a month, by mailbox and by rule, and by person
where figures of single people are shown; and how its approvals were read.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import PermissionDenied
from django.db.models import CharField, Count, Exists, F, OuterRef, Q, Subquery
from django.db.models.functions import Cast
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.text import capfirst
from django.views.decorators.http import require_POST, require_safe

from approvals import local_messages
from approvals.models import Decision, Verdict
from approvals.models.verdicts import Percentile
from audit.models import Entry
from common.actors import Actor, Role
from common.charts import spoken
from common.pages import DeskRequest, MultilineField, SentenceForm, redirect_with_notice
from common.time_zones import zone_name
from mirror.models import Connection, Mailbox, Message
from mirror.states import LIVE_DECISIONS, DecisionState, MessageState, Outcome
from mirror.terms import DONE
from people.errors import NotYours
from people.models import PendingChange, Person
from people.second_admin.setting import (
    FEWEST,
    MAX_REASON,
    organisation_settings,
    set_person_figures,
    shows_people,
)
from people.sign_in.reauthentication import reauthenticated
from policy.models import standing_words

_MONTH = re.compile(r"(2[0-9]{3})-(0[1-9]|1[0-2])")


@dataclass(frozen=True, order=True)
class Month:
    """One month: from its first moment in a time zone to the first of the next, which
    does not belong to it.
    """

    year: int
    number: int
    zone: str = "UTC"

    @classmethod
    def of(cls, at: datetime, zone: str) -> "Month":
        """Return the month in which a moment is."""
        there = at.astimezone(ZoneInfo(zone))
        return cls(there.year, there.month, zone)

    @classmethod
    def read(cls, text: str, zone: str) -> "Month | None":
        """Return the month that is spelled `2026-11`; None for what is none."""
        found = _MONTH.fullmatch(text)
        return cls(int(found[1]), int(found[2]), zone) if found else None

    @property
    def since(self) -> datetime:
        return datetime(self.year, self.number, 1, tzinfo=ZoneInfo(self.zone))

    @property
    def until(self) -> datetime:
        return self.after.since

    @property
    def before(self) -> "Month":
        return Month.of(self.since - timedelta(days=1), self.zone)

    @property
    def after(self) -> "Month":
        return Month.of(self.since + timedelta(days=31), self.zone)

    @property
    def words(self) -> str:
        return f"{self.since:%B %Y}"

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"


# The columns: the first four add up to "all", those after it are parts of that.
HEADS = {
    "approved": "Approved",
    "rejected": "Rejected",
    "sent_back": "Changes requested",
    "elsewhere": "Decided elsewhere",
    "all": "All",
    "by_rule": "By a rule",
    "undone": "Undone",
    "refused": "Refused by the desk",
    "overtaken": "Superseded",
    "high": "High risk",
}
# Which decisions of this desk each column counts.
_FIGURES: Mapping[str, Q] = {
    "approved": Q(outcome=Outcome.APPROVE),
    "rejected": Q(outcome=Outcome.REJECT),
    "sent_back": Q(outcome=Outcome.SEND_BACK),
    "all": Q(),
    "by_rule": ~Q(rule=""),
    "undone": Q(state=DecisionState.UNDONE),
    "refused": Q(state=DecisionState.REFUSED),
    "overtaken": Q(state=DecisionState.SUPERSEDED),
    "high": Q(message__review__risk_level="high"),
}
# Entries that prove that a message was held, so that somebody had to decide it.
_HELD = (
    "message.held",
    "message.approved",
    "message.released",
    "message.rejected",
    "message.gone",
)
# The entries that end a message's time at the desk; a withdrawal by the sender is no
# decision.
_ENDS = (
    *_HELD[1:],
    "message.sent",
    "message.delivered",
    "message.bounced",
    "message.complained",
    "message.failed",
)
_OURS = (*LIVE_DECISIONS, DecisionState.APPLIED, DecisionState.WITHDRAWN)


@dataclass(frozen=True)
class Cell:
    """A number under one of the heads, with its share of all for high risk."""

    name: str
    number: int
    share: str = ""

    @property
    def head(self) -> str:
        return HEADS[self.name]


@dataclass(frozen=True)
class Row:
    """One person, rule or mailbox with its numbers, and the median of the time from
    held to decided.
    """

    label: str
    note: str
    cells: tuple[Cell, ...]
    median: str


@dataclass(frozen=True)
class Report:
    """Both tables; their totals are the same."""

    # Persons, rules and elsewhere; without persons while figures of single people are
    # not shown.
    people: list[Row]
    places: list[Row]
    total: Row

    @property
    def is_empty(self) -> bool:
        return not any(cell.number for cell in self.total.cells)


@dataclass(frozen=True)
class Review:
    """How the month's approvals were read, with the figures of optional features."""

    median: str
    known: int
    unread: int
    figures: list[tuple[str, str]]

    @property
    def unread_share(self) -> str:
        return f"{100 * self.unread / self.known:.0f} %"


def may_read_reports(actor: Actor) -> bool:
    """Whether the actor may read the report: admins and auditors, of what they see as
    such.
    """
    return actor.has(Role.ADMIN) or actor.has(Role.AUDITOR)


def report_of(actor: Actor, month: Month) -> Report:
    """Return the sums of a month, where the actor is admin or auditor."""
    actor = actor.acting_as(Role.ADMIN, Role.AUDITOR)
    decisions = Decision.objects.visible_to(actor).between(month.since, month.until)
    made = decisions.order_by().with_decision_time()
    sums: dict[str, Any] = {
        name: Count("pk", filter=condition) for name, condition in _FIGURES.items()
    }
    by_people = Q(rule="") & ~Q(state=DecisionState.UNDONE)
    sums["seconds"] = Percentile("took", 0.5, filter=by_people)
    counted = _decided_elsewhere(actor, month).values_list("connection", "mailbox")
    elsewhere = {
        (connection, mailbox): number
        for connection, mailbox, number in counted.annotate(number=Count("pk"))
    }
    gone = sum(elsewhere.values())
    # Persons first, then rules, each by their names; persons only where their figures
    # are allowed.
    with_people = shows_people()
    givers = list(made.values("given_by", "rule").annotate(**sums))
    named = Person.objects.in_bulk([one["given_by"] for one in givers])
    persons: list[Row] = []
    rules: list[Row] = []
    for one in givers:
        if one["given_by"] is None:
            rules.append(_row(_rule_words(one["rule"]), "", one, 0))
        elif with_people:
            persons.append(_row(str(named[one["given_by"]]), "", one, 0))
    people = [*sorted(persons, key=_by_label), *sorted(rules, key=_by_label)]
    if gone:
        people.append(
            _row("Elsewhere", "At MultiMail, or by another program", {}, gone)
        )
    by_mailbox = made.values(
        connection=F("message__connection"), mailbox=F("message__mailbox")
    ).annotate(**sums)
    places = {(one["connection"], one["mailbox"]): one for one in by_mailbox}
    keys = places.keys() | elsewhere.keys()
    mailboxes = Mailbox.objects.in_bulk([mailbox for _, mailbox in keys])
    # Their names alone: nobody needs their secrets here.
    connections = Connection.objects.filter(pk__in={one for one, _ in keys})
    names = dict(connections.values_list("pk", "name"))
    table = [
        _row(
            str(mailboxes.get(key[1], "Mailbox not known")),
            names[key[0]],
            places.get(key, {}),
            elsewhere.get(key, 0),
        )
        for key in keys
    ]
    total = _row("All", "", made.aggregate(**sums), gone)
    return Report(people, sorted(table, key=_by_label), total)


def _by_label(row: Row) -> tuple[str, str]:
    return row.label.casefold(), row.note


def _row(label: str, note: str, made: Mapping[str, Any], elsewhere: int) -> Row:
    """Return the row of these sums of our decisions, and of so many decided elsewhere."""
    numbers = {name: made.get(name, 0) for name in HEADS} | {"elsewhere": elsewhere}
    share = ""
    if numbers["high"]:
        share = f"{100 * numbers['high'] / numbers['all']:.0f} %"
    numbers["all"] += elsewhere
    cells = [
        Cell(name, number, share if name == "high" else "")
        for name, number in numbers.items()
    ]
    seconds = made.get("seconds")
    return Row(label, note, tuple(cells), "" if seconds is None else spoken(seconds))


def _rule_words(rule: str) -> str:
    if rule == "expiry":
        return "The expiry rule"
    words = capfirst(standing_words(rule))
    return words or (f"The rule {rule}" if rule else "Nobody known")


def review_of(actor: Actor, month: Month) -> Review | None:
    """Return how the month's messages were read; None where fewer than three people
    approved any.

    Those would be figures of single people, which are shown only where they are
    allowed.
    """
    actor = actor.acting_as(Role.ADMIN, Role.AUDITOR)
    verdicts = Verdict.objects.visible_to(actor).filter(
        given_at__gte=month.since, given_at__lt=month.until
    )
    read = verdicts.approvals_read()
    if read["people"] < FEWEST and not shows_people():
        return None
    visible = Message.objects.visible_to(actor)
    return Review(
        median="" if read["median"] is None else spoken(read["median"]),
        known=read["known"],
        unread=read["unread"],
        figures=[
            feature.figure(visible, since=month.since, until=month.until)
            for feature in local_messages.FEATURES
        ],
    )


def _decided_elsewhere(actor: Actor, month: Month) -> Any:
    """Return the messages decided in a month without a decision of ours.

    Messages with a decision are excluded first; only the few others are looked up in
    the ledger (relies on message_changed and entry_message).
    """
    ended = set(DONE) - {MessageState.CANCELLED, MessageState.RECEIVED}
    visible = Message.objects.visible_to(actor).filter(
        state__in=ended, changed_at__gte=month.since, held_at__lt=month.until
    )
    ours = Decision.objects.filter(message=OuterRef("pk"), state__in=_OURS)
    entries = Entry.objects.filter(message=OuterRef("public_id"))
    first = entries.filter(action__in=_ENDS).order_by("id").values("at")[:1]
    return (
        visible.filter(~Exists(ours))
        .annotate(ended_at=Subquery(first))
        .filter(
            Exists(entries.filter(action__in=_HELD)),
            ended_at__gte=month.since,
            ended_at__lt=month.until,
        )
        .order_by()
    )


# So many differing messages are named.
MOST_NAMED = 20


def compare_with_ledger(actor: Actor, month: Month) -> dict[str, Any]:
    """Compare a month's verdicts and decisions, which no seal covers, with their
    entries in the ledger. Return how many were compared, on how many messages they
    differ, and the newest of these.
    """
    actor = actor.acting_as(Role.ADMIN, Role.AUDITOR)
    messages = Message.objects.visible_to(actor)
    verdicts = Verdict.objects.visible_to(actor).filter(
        given_at__gte=month.since, given_at__lt=month.until
    )
    decisions = Decision.objects.visible_to(actor).between(month.since, month.until)
    given = Entry.objects.of_action("verdict.given")
    recorded = Entry.objects.of_action("decision.recorded")
    # Rows without an entry that says the same: they were changed or added later.
    of_row = {
        "outcome": OuterRef("outcome"),
        "message": OuterRef("message__public_id"),
        "fingerprint": OuterRef("revision__fingerprint"),
    }
    by_person = given.filter(
        actor_kind="person", actor_id=Cast(OuterRef("person"), CharField()), **of_row
    )
    verdicts_changed = verdicts.exclude(Exists(by_person))
    decisions_changed = decisions.exclude(Exists(recorded.filter(**of_row)))
    differing = Q(pk__in=verdicts_changed.values("message"))
    differing |= Q(pk__in=decisions_changed.values("message"))
    # Entries without a row that says the same: it was changed or deleted later.
    of_entry = {
        "message__public_id": OuterRef("message"),
        "outcome": OuterRef("outcome"),
    }
    verdict = Verdict.objects.annotate(giver=Cast("person", CharField())).filter(
        giver=OuterRef("actor_id"), **of_entry
    )
    decision = Decision.objects.filter(**of_entry)
    for entries, row in ((given, verdict), (recorded, decision)):
        lacking = entries.filter(
            at__gte=month.since,
            at__lt=month.until,
            message__in=messages.values("public_id"),
        ).exclude(Exists(row))
        differing |= Q(public_id__in=lacking.values(about=F("message")))
    found = messages.filter(differing).order_by("-pk")
    return {
        "compared": verdicts.count() + decisions.count(),
        "number": found.count(),
        "differing": list(found[:MOST_NAMED]),
    }


class PeopleForm(SentenceForm):
    """Whether figures of single people are shown, and what allows it."""

    on = forms.ChoiceField(choices=[("yes", "Yes"), ("no", "No")])
    because = MultilineField(
        required=False,
        max_length=MAX_REASON,
        error_messages={"max_length": f"Keep it under {MAX_REASON} characters."},
    )


@require_safe
def decisions(request: DeskRequest) -> HttpResponse:
    """Show a month in figures."""
    return _month_page(request)


@require_POST
@reauthenticated
def set_people(request: DeskRequest) -> HttpResponse:
    """Show figures of single people, or of teams only."""
    if not request.actor.is_admin_of_all:
        raise PermissionDenied
    form = PeopleForm(request.POST)
    if not form.is_valid():
        return _month_page(request, wrong=form.first_error())
    on = form.cleaned_data["on"] == "yes"
    try:
        set_person_figures(
            actor=request.actor, on=on, because=form.cleaned_data["because"]
        )
    except NotYours as error:
        return _month_page(request, wrong=error.sentence)
    notice = "Only figures of teams are shown."
    if on:
        notice = "Figures of single people are shown to admins and auditors."
    return redirect_with_notice(request, notice, "report-decisions")


def _month_page(request: DeskRequest, *, wrong: str = "") -> HttpResponse:
    actor = request.actor
    if not may_read_reports(actor):
        raise PermissionDenied
    this_month = Month.of(timezone.now(), zone_name())
    # What is no month means the current one.
    asked = Month.read(request.GET.get("month", ""), this_month.zone)
    month = asked or this_month
    settings = organisation_settings()
    context: dict[str, Any] = {
        "report": report_of(actor, month),
        "month": month,
        "after": month.after if month < this_month else None,
        "is_running": month == this_month,
        "review": review_of(actor, month),
        "comparison": compare_with_ledger(actor, month),
        "fewest": FEWEST,
        "settings": settings,
        "shows_people": settings.person_figures_since is not None,
        "waiting_changes": PendingChange.objects.at("report-decisions"),
        "may_set": actor.is_admin_of_all,
        "wrong": wrong,
        "typed": request.POST if wrong else {},
        "heads": HEADS,
    }
    return render(
        request,
        "approvals/reports/report_decisions.html",
        context,
        status=422 if wrong else 200,
    )
