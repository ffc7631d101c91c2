"""Adds up the decisions of a month, by mailbox and by rule, and by person where figures
of single people are shown; and compares the rows that are counted, which no seal
covers, with the ledger.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.db.models import (
    CharField,
    Count,
    Exists,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
)
from django.db.models.functions import Cast
from django.utils.text import capfirst

from approvals import local_messages
from approvals.models import Decision, Verdict
from approvals.models.verdicts import Percentile
from audit.models import Entry
from audit.search.filters import Filters
from audit.search.results import matching
from common.actors import Actor, Role
from common.charts import Bars, bars, spoken
from mirror.models import Connection, Mailbox, Message
from mirror.states import LIVE_DECISIONS, DecisionState, MessageState, Outcome
from mirror.terms import DONE
from people.models import Person
from people.second_admin.setting import FEWEST, shows_people
from policy.models import standing_words

_TONES = {
    "approved": "green",
    "rejected": "rose",
    "sent_back": "amber",
    "elsewhere": "calm",
}
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


ELSEWHERE = "elsewhere"
# Columns in the order in which they are shown; the first four add up to the fifth, the
# others are parts of it.
SUMMED = {
    "approved": "Approved",
    "rejected": "Rejected",
    "sent_back": "Changes requested",
    ELSEWHERE: "Decided elsewhere",
}
PARTS = {
    "by_rule": "By a rule",
    "undone": "Undone",
    "refused": "Refused by the desk",
    "overtaken": "Superseded",
    "high": "High risk",
}
HEADS = {**SUMMED, "all": "All", **PARTS}
# Which decisions a figure counts.
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
_RULES = {"expiry": "The expiry rule"}
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
# How many differing messages are named; the rest is counted.
MOST_NAMED = 20


@dataclass(frozen=True)
class Cell:
    """A number, and the address of its rows; empty where there are none."""

    name: str
    number: int
    query: str = ""
    share: str = ""

    @property
    def words(self) -> str:
        return f"{self.number:,}"

    @property
    def head(self) -> str:
        return HEADS[self.name]


@dataclass(frozen=True)
class Row:
    """One person, rule or mailbox with its sums, and the median of seconds."""

    label: str
    note: str
    cells: tuple[Cell, ...]
    seconds: float | None

    @property
    def summed(self) -> tuple[Cell, ...]:
        return self.cells[: len(SUMMED)]

    @property
    def all(self) -> Cell:
        return self.cells[len(SUMMED)]

    @property
    def median(self) -> str:
        return "" if self.seconds is None else spoken(self.seconds)


@dataclass(frozen=True)
class Report:
    """Both tables; their totals are the same."""

    month: Month
    # Persons, rules and elsewhere; without persons while figures of single people are
    # not shown.
    people: tuple[Row, ...]
    places: tuple[Row, ...]
    total: Row
    chart: Bars | None = None
    summary: str = ""


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


@dataclass(frozen=True)
class Asked:
    """Which rows of a month: of whom, where, and which figure's. Empty is all."""

    month: Month
    who: str = ""
    where: str = ""
    figure: str = ""

    @property
    def query(self) -> str:
        asked = {
            "month": self.month,
            "who": self.who,
            "where": self.where,
            "figure": self.figure,
        }
        return urlencode({name: value for name, value in asked.items() if value})


def may_read_reports(actor: Actor) -> bool:
    """Whether the actor may read the report: admins and auditors, of what they see as
    such.
    """
    return actor.has(Role.ADMIN) or actor.has(Role.AUDITOR)


def report_of(actor: Actor, month: Month) -> Report:
    """Return the sums of a month, where the actor is admin or auditor."""
    made = _made(actor, month).order_by().with_decision_time()
    sums: dict[str, Any] = {
        name: Count("pk", filter=condition) for name, condition in _FIGURES.items()
    }
    by_people = Q(rule="") & ~Q(state=DecisionState.UNDONE)
    sums["seconds"] = Percentile("took", 0.5, filter=by_people)
    counted = _past(actor, month).order_by().values_list("connection", "mailbox")
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
    persons = []
    rules = []
    for one in givers:
        if one["given_by"] is None:
            asked = Asked(month, who=f"rule-{one['rule']}")
            rules.append(_row(_rule_words(one["rule"]), "", one, 0, asked))
        elif with_people:
            asked = Asked(month, who=f"person-{one['given_by']}")
            persons.append(_row(str(named[one["given_by"]]), "", one, 0, asked))
    people = [*sorted(persons, key=_by_label), *sorted(rules, key=_by_label)]
    if gone:
        words = ("Elsewhere", "At MultiMail, or by another program")
        people.append(_row(*words, {}, gone, Asked(month, who=ELSEWHERE)))
    by_mailbox = made.values(
        connection=F("message__connection"), mailbox=F("message__mailbox")
    ).annotate(**sums)
    places = {(one["connection"], one["mailbox"]): one for one in by_mailbox}
    keys = places.keys() | elsewhere.keys()
    mailboxes = Mailbox.objects.in_bulk([mailbox for _, mailbox in keys])
    # Their names alone: nobody needs their secrets here.
    connections = Connection.objects.filter(pk__in={one for one, _ in keys})
    names = dict(connections.values_list("pk", "name"))
    table = []
    for key in keys:
        connection, mailbox = key
        label = str(mailboxes.get(mailbox, "Mailbox not known"))
        where = f"{connection}" if mailbox is None else f"{connection}-{mailbox}"
        sums_here = places.get(key, {})
        gone_here = elsewhere.get(key, 0)
        asked = Asked(month, where=where)
        table.append(_row(label, names[connection], sums_here, gone_here, asked))
    table.sort(key=_by_label)
    # A bar of each person's decisions, and the same in words.
    drawn = []
    for row in people if with_people else table:
        if row.all.number:
            in_words = ", ".join(
                f"{cell.words} {cell.head.lower()}"
                for cell in row.summed
                if cell.number
            )
            numbers = [(cell.number, _TONES[cell.name]) for cell in row.summed]
            drawn.append((row.label, in_words, numbers))
    return Report(
        month,
        tuple(people),
        tuple(table),
        _row("All", "", made.aggregate(**sums), gone, Asked(month)),
        bars(drawn) if drawn else None,
        "; ".join(f"{label}: {in_words}" for label, in_words, _ in drawn),
    )


def _by_label(row: Row) -> tuple[str, str]:
    return row.label.casefold(), row.note


def _row(
    label: str, note: str, made: Mapping[str, Any], elsewhere: int, asked: Asked
) -> Row:
    """Return the row of these sums of our decisions, and of so many decided elsewhere."""
    cells = []
    for name in HEADS:
        number: int = elsewhere if name == ELSEWHERE else made.get(name, 0)
        share = ""
        if name == "high" and number:
            share = f"{100 * number / made['all']:.0f} %"
        if name == "all":
            number += elsewhere
        query = replace(asked, figure="" if name == "all" else name).query
        cells.append(Cell(name, number, query if number else "", share))
    return Row(label, note, tuple(cells), made.get("seconds"))


def review_of(actor: Actor, month: Month) -> Review | None:
    """Return how the month's messages were read; None where fewer than three people
    approved any.

    Those would be figures of single people, which are shown only where they are
    allowed.
    """
    visible = Message.objects.visible_to(_looking(actor))
    read = _verdicts(actor, month).approvals_read()
    if read["people"] < FEWEST and not shows_people():
        return None
    return Review(
        median="" if read["median"] is None else spoken(read["median"]),
        known=read["known"],
        unread=read["unread"],
        figures=[
            feature.figure(visible, since=month.since, until=month.until)
            for feature in local_messages.FEATURES
        ],
    )


def rows_of(actor: Actor, asked: Asked) -> tuple[Any, Any]:
    """Return the decisions, and the messages decided elsewhere, that a figure counts;
    the newest first.

    The figure is counted by the same conditions, so it is the number of these rows.
    """
    made = _made(actor, asked.month).filter(_FIGURES.get(asked.figure, Q()))
    past = _past(actor, asked.month)
    if asked.where:
        connection, mailbox = _read_where(asked.where)
        made = made.filter(message__connection=connection, message__mailbox=mailbox)
        past = past.filter(connection=connection, mailbox=mailbox)
    if ELSEWHERE in (asked.who, asked.figure):
        made = made.none()
    if {asked.who, asked.figure} - {"", ELSEWHERE}:
        past = past.none()
    if asked.who not in ("", ELSEWHERE):
        person, rule = _read_who(asked.who)
        made = made.filter(given_by=person, rule=rule)
    made = (
        made.with_decision_time().with_message().select_related("given_by", "revision")
    )
    return made.order_by("-recorded_at", "-pk"), past.select_related(
        "connection", "mailbox"
    ).order_by("-ended_at")


def words_of(actor: Actor, asked: Asked) -> str:
    """Return which rows these are, as the end of a heading."""
    parts = []
    if asked.who == ELSEWHERE:
        parts.append("not on this desk")
    elif asked.who:
        person, rule = _read_who(asked.who)
        found = Person.objects.filter(pk=person).first() if person else None
        by = _rule_words(rule).lower() if rule else "nobody known"
        parts.append(f"by {found or by}")
    if asked.where:
        connection, mailbox = _read_where(asked.where)
        visible = Message.objects.visible_to(_looking(actor)).filter(
            connection=connection, mailbox=mailbox
        )
        one = visible.select_related("mailbox", "connection").first()
        parts.append(
            f"in {one.mailbox or one.connection}"
            if one
            else "in a mailbox that you do not see"
        )
    if asked.figure:
        parts.insert(0, HEADS[asked.figure].lower())
    return ", ".join(parts) or "all"


def _made(actor: Actor, month: Month) -> Any:
    return Decision.objects.visible_to(_looking(actor)).between(
        month.since, month.until
    )


def _verdicts(actor: Actor, month: Month) -> Any:
    return Verdict.objects.visible_to(_looking(actor)).filter(
        given_at__gte=month.since, given_at__lt=month.until
    )


def _past(actor: Actor, month: Month) -> Any:
    """Return the messages decided in a month without a decision of ours, with the time
    as `ended_at`.

    Messages with a decision are excluded first; only the few others are looked up in
    the ledger (relies on message_changed and entry_message).
    """
    since = month.since
    until = month.until
    past = set(DONE) - {MessageState.CANCELLED, MessageState.RECEIVED}
    visible = Message.objects.visible_to(_looking(actor)).filter(
        state__in=past, changed_at__gte=since, held_at__lt=until
    )
    ours = Decision.objects.filter(message=OuterRef("pk"), state__in=_OURS)
    entries = Entry.objects.filter(message=OuterRef("public_id"))
    first = entries.filter(action__in=_ENDS).order_by("id").values("at")[:1]
    return (
        visible.filter(~Exists(ours))
        .annotate(ended_at=Subquery(first))
        .filter(
            Exists(entries.filter(action__in=_HELD)),
            ended_at__gte=since,
            ended_at__lt=until,
        )
    )


def _looking(actor: Actor) -> Actor:
    return actor.acting_as(Role.ADMIN, Role.AUDITOR)


def _read_who(who: str) -> tuple[int | None, str]:
    kind, _, key = who.partition("-")
    return (int(key), "") if kind == "person" else (None, key)


def _read_where(where: str) -> tuple[int, int | None]:
    connection, _, mailbox = where.partition("-")
    return int(connection), int(mailbox) if mailbox else None


def _rule_words(rule: str) -> str:
    if standing := standing_words(rule):
        return capfirst(standing)
    return _RULES.get(rule, f"The rule {rule}" if rule else "Nobody known")


def first_month(zone: str, now: datetime) -> Month:
    """Return the month of the desk's first decision."""
    at = Decision.objects.order_by("pk").values_list("recorded_at", flat=True).first()
    return Month.of(at or now, zone)


def compare_with_ledger(actor: Actor, month: Month) -> dict[str, Any]:
    """Compare a month's verdicts and decisions, where the actor is admin or auditor,
    with their ledger entries; return how many these are, and the messages on which they
    differ.
    """
    mine = Message.objects.visible_to(_looking(actor))
    verdicts = _verdicts(actor, month)
    made = _made(actor, month)
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
    entries = Entry.objects.filter(
        at__gte=month.since, at__lt=month.until, message__in=mine.values("public_id")
    )
    for action, recorded in rows.items():
        lacking = entries.of_action(action).exclude(Exists(recorded))
        differing |= Q(public_id__in=lacking.values(found=F("message")))
    found = mine.filter(differing).order_by("-pk")
    return {
        "compared": verdicts.count() + made.count(),
        "number": found.count(),
        "differing": list(found[:MOST_NAMED]),
    }


def _recorded_as(action: str, **more: Any) -> Exists:
    """Whether an entry of this kind has the same outcome for the same version."""
    about = {
        "outcome": OuterRef("outcome"),
        "message": OuterRef("message__public_id"),
        "fingerprint": OuterRef("revision__fingerprint"),
    }
    return Exists(Entry.objects.of_action(action).filter(**about, **more))


def _not_recorded(rows: QuerySet[Any], recorded: Exists) -> Q:
    return Q(pk__in=rows.exclude(recorded).values("message"))


def refused_presses(actor: Actor, month: Month) -> dict[str, Any]:
    """Return the number of refused attempts that the actor may see in the ledger, and
    the URL of these entries (relies on entry_action).
    """
    asked = f"action=verdict.refused&since={month}&until={month}"
    filters = Filters.from_query(asked, month.zone).pinned()
    found = matching(Entry.objects.readable_by(actor), filters)
    return {"number": found.count(), "query": filters.query()}
