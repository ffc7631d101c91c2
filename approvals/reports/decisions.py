"""Adds up the decisions of a month, by mailbox and by rule, and by person where figures
of single people are shown.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.utils.text import capfirst

from approvals import local_messages
from approvals.models import Decision, Verdict
from approvals.models.figures import FIGURES, Group, by_mailbox, decided_elsewhere
from common.actors import Actor, Role
from common.charts import Bars, bars, spoken
from mirror.models import Connection, Mailbox, Message
from people.models import Person
from people.second_admin.setting import FEWEST, shows_people
from policy.models import standing_words

_TONES = {
    "approved": "green",
    "rejected": "rose",
    "sent_back": "amber",
    "elsewhere": "calm",
}
_MONTH = re.compile(r"([0-9]{4})-([0-9]{2})")
_FIRST = 2000
_LAST = 2999


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
        found = _MONTH.fullmatch(text) if text.isascii() else None
        if found is None:
            return None
        year = int(found[1])
        number = int(found[2])
        if not _FIRST <= year <= _LAST or not 1 <= number <= 12:
            return None
        return cls(year, number, zone)

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
_HEADS = {**SUMMED, **PARTS}
_RULES = {"expiry": "The expiry rule"}


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
        return _HEADS.get(self.name, "All")


@dataclass(frozen=True)
class Row:
    """One person, rule or mailbox with its sums."""

    label: str
    note: str
    summed: tuple[Cell, ...]
    all: Cell
    parts: tuple[Cell, ...]
    median: str
    seconds: float | None

    @property
    def cells(self) -> tuple[Cell, ...]:
        return (*self.summed, self.all, *self.parts)


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
            "month": str(self.month),
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
    made = _made(actor, month)
    past = _past(actor, month)
    groups = made.added_up()
    elsewhere = by_mailbox(past)
    names = _Names(groups, elsewhere)
    gone = sum(elsewhere.values())
    # Persons first, then rules, each by their names; persons only where their figures
    # are allowed.
    with_people = shows_people()
    givers = [
        one for one in groups if one.by == "who" and (with_people or one.person is None)
    ]
    givers.sort(key=lambda one: (not one.person, names.giver(one).casefold()))
    people = []
    for one in givers:
        who = f"rule-{one.rule}" if one.person is None else f"person-{one.person}"
        people.append(_row(names.giver(one), "", one, 0, Asked(month, who=who)))
    if gone:
        words = ("Elsewhere", "At MultiMail, or by another program")
        people.append(_row(*words, None, gone, Asked(month, who=ELSEWHERE)))
    by_place = {
        (one.connection, one.mailbox): one for one in groups if one.by == "where"
    }
    mailboxes = []
    for place in {**by_place, **elsewhere}:
        connection, mailbox = place
        where = f"{connection}" if mailbox is None else f"{connection}-{mailbox}"
        mailboxes.append(
            _row(
                *names.mailbox(place),
                by_place.get(place),
                elsewhere.get(place, 0),
                Asked(month, where=where),
            )
        )
    mailboxes.sort(key=lambda row: (row.label.casefold(), row.note))
    total = next(one for one in groups if one.by == "all")
    # A bar of each person's decisions, and the same in words.
    drawn = []
    for row in people if with_people else mailboxes:
        if row.all.number:
            in_words = ", ".join(
                f"{cell.number:,} {SUMMED[cell.name].lower()}"
                for cell in row.summed
                if cell.number
            )
            numbers = [(cell.number, _TONES[cell.name]) for cell in row.summed]
            drawn.append((row.label, in_words, numbers))
    return Report(
        month,
        tuple(people),
        tuple(mailboxes),
        _row("All", "", total, gone, Asked(month)),
        bars(drawn) if drawn else None,
        "; ".join(f"{label}: {in_words}" for label, in_words, _ in drawn),
    )


def review_of(actor: Actor, month: Month) -> Review | None:
    """Return how the month's messages were read; None where fewer than three people
    approved any.

    Those would be figures of single people, which are shown only where they are
    allowed.
    """
    visible = Message.objects.visible_to(_looking(actor))
    verdicts = Verdict.objects.on(visible).filter(
        given_at__gte=month.since, given_at__lt=month.until
    )
    read = verdicts.approvals_read()
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
    connection, mailbox = _read_where(asked.where)
    made = _made(actor, asked.month).counted_as(asked.figure)
    past = _past(actor, asked.month)
    if asked.where:
        made = made.of_mailbox(connection=connection, mailbox=mailbox)
        past = past.filter(connection=connection, mailbox=mailbox)
    if asked.who == ELSEWHERE or asked.figure == ELSEWHERE:
        made = made.none()
    if asked.who not in ("", ELSEWHERE) or asked.figure not in ("", ELSEWHERE):
        past = past.none()
    if asked.who not in ("", ELSEWHERE):
        made = made.of_giver(*_read_who(asked.who))
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
    if asked.figure in _HEADS:
        parts.insert(0, _HEADS[asked.figure].lower())
    return ", ".join(parts) or "all"


def _made(actor: Actor, month: Month) -> Any:
    return Decision.objects.visible_to(_looking(actor)).between(
        month.since, month.until
    )


def _past(actor: Actor, month: Month) -> Any:
    return decided_elsewhere(
        Message.objects.visible_to(_looking(actor)), month.since, month.until
    )


def _looking(actor: Actor) -> Actor:
    return actor.acting_as(Role.ADMIN, Role.AUDITOR)


class _Names:
    """The names of all people, mailboxes and connections in the sums, read at once."""

    def __init__(
        self, groups: Sequence[Group], elsewhere: Mapping[tuple[int, int | None], int]
    ) -> None:
        self.people = Person.objects.in_bulk(
            {one.person for one in groups if one.person}
        )
        pairs = {
            (one.connection, one.mailbox) for one in groups if one.connection
        } | set(elsewhere)
        self.mailboxes = Mailbox.objects.in_bulk(
            {mailbox for _, mailbox in pairs if mailbox}
        )
        # Their names alone: nobody needs their secrets here.
        named = Connection.objects.filter(pk__in={one for one, _ in pairs if one})
        self.connections = dict(named.values_list("pk", "name"))

    def giver(self, group: Group) -> str:
        if group.person is not None:
            person = self.people.get(group.person)
            return str(person) if person else f"Person {group.person}"
        return _rule_words(group.rule or "")

    def mailbox(self, pair: tuple[int | None, int | None]) -> tuple[str, str]:
        mailbox = self.mailboxes.get(pair[1] or 0)
        return str(mailbox) if mailbox else "Mailbox not known", self.connections.get(
            pair[0] or 0, ""
        )


def _row(
    label: str, note: str, group: Group | None, elsewhere: int, asked: Asked
) -> Row:
    figures = dict(group.figures) if group else dict.fromkeys(FIGURES, 0)
    figures[ELSEWHERE] = elsewhere
    made = group.decisions if group else 0
    shares = {}
    if figures["high"]:
        shares["high"] = f"{100 * figures['high'] / made:.0f} %"

    def cell(name: str, number: int) -> Cell:
        query = Asked(asked.month, asked.who, asked.where, name).query if number else ""
        return Cell(name or "all", number, query, shares.get(name, ""))

    seconds = group.median if group else None
    return Row(
        label=label,
        note=note,
        summed=tuple(cell(name, figures[name]) for name in SUMMED),
        all=cell("", made + elsewhere),
        parts=tuple(cell(name, figures[name]) for name in PARTS),
        median="" if seconds is None else spoken(seconds),
        seconds=seconds,
    )


def _read_who(who: str) -> tuple[int | None, str]:
    kind, _, key = who.partition("-")
    return (int(key), "") if kind == "person" else (None, key)


def _read_where(where: str) -> tuple[int, int | None]:
    connection, _, mailbox = where.partition("-")
    return int(connection or 0), int(mailbox) if mailbox else None


def _rule_words(rule: str) -> str:
    if standing := standing_words(rule):
        return capfirst(standing)
    return _RULES.get(rule, f"The rule {rule}" if rule else "Nobody known")


def first_month(zone: str, now: datetime) -> Month:
    """Return the month of the desk's first decision."""
    at = Decision.objects.order_by("pk").values_list("recorded_at", flat=True).first()
    return Month.of(at or now, zone)
