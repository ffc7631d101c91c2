"""The page with the monthly report of decisions, for admins and auditors: how many
messages were approved, rejected and so on, by mailbox and by rule. Figures of single
people are left out unless an admin of everything has allowed them. The page also shows
for how long approved messages were read.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.db.models import CharField, Count, Exists, F, OuterRef, Q
from django.db.models.functions import Cast
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from approvals.models import Decision, Verdict
from approvals.models.reviews import Percentile
from audit.models import Entry
from common.actors import Actor, Role
from common.charts import spoken
from common.errors import SentenceError
from common.pages import (
    DeskRequest,
    DrawnForm,
    MultilineField,
    admin_or_403,
    answer,
    changes,
    cleaned,
    only_for,
)
from common.tables import table_pairs
from common.time_zones import zone_name
from mirror.models import Connection, Mailbox, Message
from mirror.states import DecisionState, Outcome
from people.models import Person
from people.second_admin.setting import (
    FEWEST,
    MAX_REASON,
    organisation_settings,
    set_person_figures,
    shows_people,
)
from people.sign_in.reauthentication import reauthenticated

# A month in the address of the page: 2026-11.
_MONTH = re.compile(r"2[0-9]{3}-(0[1-9]|1[0-2])")


@dataclass(frozen=True, order=True)
class Month:
    """A month in a time zone, from `since` up to but not including `until`."""

    since: datetime

    @classmethod
    def of(cls, at: datetime, zone: str) -> "Month":
        """Return the month that contains a moment."""
        local = at.astimezone(ZoneInfo(zone))
        return cls(datetime(local.year, local.month, 1, tzinfo=local.tzinfo))

    @classmethod
    def read(cls, text: str, zone: str) -> "Month | None":
        """Return the month that is spelled `2026-11`; None if the text is no month."""
        if not _MONTH.fullmatch(text):
            return None
        first_day = datetime.fromisoformat(f"{text}-01")
        return cls(first_day.replace(tzinfo=ZoneInfo(zone)))

    @property
    def until(self) -> datetime:
        return (self.since + timedelta(days=31)).replace(day=1)

    @property
    def before(self) -> "Month":
        return Month((self.since - timedelta(days=1)).replace(day=1))

    @property
    def after(self) -> "Month":
        return Month(self.until)

    @property
    def words(self) -> str:
        return f"{self.since:%B %Y}"

    def __str__(self) -> str:
        return f"{self.since:%Y-%m}"


# The headings of the columns. The first four add up to "all"; those after "all" count
# some of the same decisions again.
HEADS = table_pairs(
    """
approved | Approved
rejected | Rejected
sent_back | Changes requested
elsewhere | Decided elsewhere
all | All
by_rule | By a rule
undone | Undone
refused | Refused by the desk
overtaken | Superseded
high | High risk
"""
)
# Which decisions of this desk each column counts.
_FIGURES = {
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


@dataclass(frozen=True)
class Cell:
    """A number of a row, in the column `name` under its heading. Only high risk has a
    `share`: its percentage of all.
    """

    name: str
    head: str
    number: int
    share: str


@dataclass(frozen=True)
class Row:
    """A row of a table: the numbers of one person, rule or mailbox, and in words the
    median time from held to decided.
    """

    label: str
    note: str
    cells: tuple[Cell, ...]
    median: str


@dataclass(frozen=True)
class Report:
    """Two tables of the same decisions, with one row of totals."""

    # By who decided: persons if their figures are allowed, rules, and decisions that
    # were made outside this desk.
    people: list[Row]
    # By mailbox.
    places: list[Row]
    total: Row


def report_of(actor: Actor, month: Month) -> Report:
    """Return the report of a month, over the mailboxes of which the actor is admin or
    auditor.
    """
    actor = actor.acting_as(Role.ADMIN, Role.AUDITOR)
    # Relies on decision_recorded_brin.
    decisions = Decision.objects.visible_to(actor).filter(
        recorded_at__gte=month.since, recorded_at__lt=month.until
    )
    our_decisions = decisions.order_by().with_decision_time()
    sums: dict[str, Any] = {
        name: Count("pk", filter=condition) for name, condition in _FIGURES.items()
    }
    by_people = Q(rule="") & ~Q(state=DecisionState.UNDONE)
    sums["seconds"] = Percentile("took", part=0.5, filter=by_people)
    # Relies on message_elsewhere.
    decided_elsewhere = Message.objects.visible_to(actor).filter(
        decided_elsewhere_at__gte=month.since, decided_elsewhere_at__lt=month.until
    )
    elsewhere = Counter(decided_elsewhere.values_list("connection", "mailbox"))
    number_elsewhere = elsewhere.total()
    # Persons first, then rules, each sorted by name. Persons only if their figures are
    # allowed.
    with_people = shows_people()
    sums_by_giver = list(
        our_decisions.values("given_by", "rule", "pass_name").annotate(**sums)
    )
    persons_by_key = Person.objects.in_bulk([one["given_by"] for one in sums_by_giver])
    persons: list[Row] = []
    rules: list[Row] = []
    for one in sums_by_giver:
        if one["given_by"] is None:
            rules.append(_row(*_rule_words(one["rule"], one["pass_name"]), one, 0))
        elif with_people:
            persons.append(_row(str(persons_by_key[one["given_by"]]), "", one, 0))
    people = sorted(persons, key=_by_label) + sorted(rules, key=_by_label)
    if number_elsewhere:
        people.append(
            _row(
                "Elsewhere", "At MultiMail, or by another program", {}, number_elsewhere
            )
        )
    by_mailbox = our_decisions.values(
        connection=F("message__connection"), mailbox=F("message__mailbox")
    ).annotate(**sums)
    sums_by_mailbox = {(one["connection"], one["mailbox"]): one for one in by_mailbox}
    mailbox_keys = sums_by_mailbox.keys() | elsewhere.keys()
    mailboxes = Mailbox.objects.in_bulk([mailbox for _, mailbox in mailbox_keys])
    # Only their names: loading whole connections would decrypt their keys.
    connections = Connection.objects.filter(pk__in={one for one, _ in mailbox_keys})
    names = dict(connections.values_list("pk", "name"))
    mailbox_rows = [
        _row(
            str(mailboxes.get(key[1], "Mailbox not known")),
            names[key[0]],
            sums_by_mailbox.get(key, {}),
            elsewhere.get(key, 0),
        )
        for key in mailbox_keys
    ]
    total = _row("All", "", our_decisions.aggregate(**sums), number_elsewhere)
    return Report(people, sorted(mailbox_rows, key=_by_label), total)


def _by_label(row: Row) -> tuple[str, str]:
    return row.label.casefold(), row.note


def _row(label: str, note: str, sums: Mapping[str, Any], elsewhere: int) -> Row:
    """Return a row from the sums over this desk's decisions, by column, and the number
    of messages decided elsewhere.
    """
    numbers = {name: sums.get(name, 0) for name in HEADS} | {"elsewhere": elsewhere}
    numbers["all"] += elsewhere
    share = ""
    if numbers["high"]:
        share = f"{100 * numbers['high'] / numbers['all']:.0f} %"
    cells = [
        Cell(name, HEADS[name], number, share if name == "high" else "")
        for name, number in numbers.items()
    ]
    seconds = sums.get("seconds")
    return Row(label, note, tuple(cells), "" if seconds is None else spoken(seconds))


def _rule_words(rule: str, pass_name: str) -> tuple[str, str]:
    # The name of a rule in the table, and a note. Without a rule, nobody knows who
    # decided.
    if pass_name:
        return f"The pass “{pass_name}”", f"Version {rule.rpartition(' ')[2]}"
    if rule == "expiry":
        return "Expired, nobody decided", ""
    return f"The rule {rule}" if rule else "Nobody known", ""


def review_of(actor: Actor, month: Month) -> dict[str, Any] | None:
    """Return how the messages approved in a month were read: the median time for which
    they were shown, in words, how many are known, and how many of these, in percent
    too, were not read. None if fewer people than FEWEST approved any, unless figures of
    single people are allowed.
    """
    actor = actor.acting_as(Role.ADMIN, Role.AUDITOR)
    verdicts = Verdict.objects.visible_to(actor).filter(
        given_at__gte=month.since, given_at__lt=month.until
    )
    read = verdicts.approvals_read()
    if read["people"] < FEWEST and not shows_people():
        return None
    median = read["median"]
    share = 100 * read["unread"] / (read["known"] or 1)
    read["unread_share"] = f"{share:.0f} %"
    return {**read, "median": "" if median is None else spoken(median)}


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
    # Relies on decision_recorded_brin.
    decisions = Decision.objects.visible_to(actor).filter(
        recorded_at__gte=month.since, recorded_at__lt=month.until
    )
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


class MonthForm(DrawnForm):
    """The month to report on, as `2026-11`."""

    month = forms.CharField(
        widget=forms.TextInput(
            {"type": "month", "pattern": "[0-9]{4}-[0-9]{2}", "placeholder": "2026-11"}
        )
    )


class PeopleForm(DrawnForm):
    """Whether figures of single people are shown, and why that is allowed."""

    on = forms.ChoiceField(choices=[("yes", "Yes"), ("no", "No")])
    because = MultilineField(
        label="What allows it",
        help_text="The law or the works agreement that allows individual figures. It goes into the ledger.",
        widget=forms.Textarea({"rows": 2, "required": True}),
        required=False,
        max_length=MAX_REASON,
    )


def _month_page(
    request: DeskRequest, *, error: SentenceError | None = None
) -> HttpResponse:
    """Show the report of the month that the address names, or of the current one."""
    actor = request.actor
    only_for("an admin or auditor", actor.looks_after_people)
    this_month = Month.of(timezone.now(), zone_name())
    # The current month, unless the address names another.
    month = Month.read(request.GET.get("month", ""), zone_name()) or this_month
    settings = organisation_settings()
    context = {
        "report": report_of(actor, month),
        "month": month,
        "after": month.after if month < this_month else None,
        "is_running": month == this_month,
        "review": review_of(actor, month),
        "comparison": compare_with_ledger(actor, month),
        "fewest": FEWEST,
        "settings": settings,
        "shows_people": settings.person_figures_since is not None,
        "may_set": actor.is_admin_of_all,
        "month_form": MonthForm(initial={"month": month}),
        "form": PeopleForm(request.POST or None),
        "heads": HEADS,
    }
    return answer(request, "approvals/reports/report_decisions.html", context, error)


decisions = require_safe(_month_page)


@require_POST
@reauthenticated
@changes(_month_page, to="report-decisions")
def set_people(request: DeskRequest) -> str:
    """Set whether the report shows figures of single people, or only of teams."""
    admin_or_403(request)
    typed = cleaned(PeopleForm(request.POST))
    on = typed["on"] == "yes"
    set_person_figures(actor=request.actor, on=on, because=typed["because"])
    if on:
        return "Individual figures are shown to admins and auditors."
    return "Only figures of teams are shown."
