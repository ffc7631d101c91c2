"""The home page: waiting messages, the connections' health, recent events, and the
week's figures as charts.

All queries start from what is visible to the actor, so that nobody sees more than they
may.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from approvals.desk_messages import desk_messages
from approvals.models import Decision, Verdict, reviews
from audit.models import Entry
from audit.trail import lines, with_subjects
from common.actors import Actor, Role
from common.charts import Bars, bars, spoken
from common.counts import COUNTED, count_of, counted
from common.pages import DeskRequest, page_or_fragment, wants_fragment
from common.time_zones import local_time
from connections.accounts.views import connection_rows
from mirror.states import Outcome
from people.second_admin.setting import shows_people
from risk.rules import RULES

# How many kinds of findings have their own bar; the rest share one.
SHOWN = 7
# How long messages have waited, the longest first: the words and the colour of each
# bar.
_AGES = {
    "longer": ("longer than a day", "rose"),
    "day": ("4 h to a day", "amber"),
    "hours": ("1 h to 4 h", "amber"),
    "hour": ("5 min to 1 h", "calm"),
    "minutes": ("under 5 min", "calm"),
}


@require_safe
def home(request: DeskRequest) -> HttpResponse:
    """Show the home page; for a refresh by htmx, only its part about the
    connections.
    """
    actor = request.actor
    context: dict[str, Any] = {"connections": connection_rows(actor)}
    if not wants_fragment(request):
        visible = desk_messages().visible_to(actor)
        a_day_ago = Now() - timedelta(hours=24)
        decisions = Decision.objects.visible_to(actor).filter(
            recorded_at__gte=a_day_ago
        )
        entries = Entry.objects.readable_by(actor).without_steps().newest_first()
        context |= {
            **_waiting(actor),
            "approved": decisions.applied_as(Outcome.APPROVE).count(),
            "rejected": decisions.applied_as(Outcome.REJECT, Outcome.SEND_BACK).count(),
            "in_doubt": visible.in_doubt().count(),
            "failed": visible.failed().filter(changed_at__gte=a_day_ago).count(),
            "lines": with_subjects(lines(entries[:12])),
            "panels": panels_for(actor),
            "today": f"{local_time(timezone.now()):%A %-d %B}",
        }
    return page_or_fragment(
        request,
        page="dashboard/home.html",
        fragment="dashboard/_home_connections.html",
        context=context,
    )


@require_safe
def home_waiting(request: DeskRequest) -> HttpResponse:
    """Show the part of the home page about waiting messages, for an open page that
    refreshes it. Without htmx, redirect to the whole page.
    """
    if not wants_fragment(request):
        return redirect("home")
    return render(request, "dashboard/_home_waiting.html", _waiting(request.actor))


def _waiting(actor: Actor) -> dict[str, Any]:
    waiting = desk_messages().visible_to(actor).in_queue()
    return {
        "waiting": count_of(waiting),
        "oldest": waiting.for_name().oldest_first().first(),
    }


@dataclass(frozen=True)
class Panel:
    """One chart, with the words around it."""

    name: str
    title: str
    # Shown instead of a chart if there are no rows.
    empty: str
    lead: str = ""
    # The heads and rows of the table with the chart's figures.
    head: tuple[str, ...] = ()
    rows: Sequence[tuple[str, ...]] = ()
    # What the picture shows, in words.
    summary: str = ""
    bars: Bars | None = None


@dataclass(frozen=True)
class Row:
    """One row of a chart."""

    # Its cells in the table; the first one names the row.
    cells: tuple[str, ...]
    # What it counts, beside its bar.
    words: str
    # What it counts, in the chart's summary.
    said: str
    # The pieces of the bar: number and colour.
    pieces: Sequence[tuple[int, str]]


def panels_for(actor: Actor) -> list[Panel]:
    """Return the charts of the home page, in the order in which they are shown."""
    visible = desk_messages().visible_to(actor)
    of_the_week = Decision.objects.visible_to(actor).of_the_week().by_people()
    week = of_the_week.times()
    panels = [_times(week)]
    # Figures of single people are read only where they are allowed.
    reader = actor.acting_as(Role.ADMIN, Role.AUDITOR)
    if reader.scopes and shows_people():
        panels.append(_people(Verdict.objects.visible_to(reader).of_the_week().paces()))
    panels.append(_caught(of_the_week.caught_by_rule()))
    if week["number"] >= reviews.MOST:
        panels = [
            replace(one, lead=f"{one.lead} Of the newest {reviews.MOST:,} only.")
            for one in panels
        ]
    late = visible.awaiting_review().late_by_mailbox()
    return [_late(late), _waits(visible.in_queue().numbers_by_age()), *panels]


def _late(mailboxes: Iterable[dict[str, Any]]) -> Panel:
    """Return the chart of messages that are past a target of their review plan, by
    mailbox, in the given order.
    """
    rows = []
    late = 0
    for row in mailboxes:
        mailbox = row["mailbox__address"] or "Mailbox not known"
        number = counted(row["number"])
        pieces = [(min(row["number"], COUNTED), "rose")]
        rows.append(Row((mailbox, number), number, f"{number} in {mailbox}", pieces))
        late += row["number"]
    return _chart(
        rows,
        name="late",
        title="Late",
        lead=f"Past a target of their review plan: {counted(late) if late else 'none'}. First in the queue.",
        head=("Mailbox", "Messages"),
        empty="No message is late.",
    )


def _waits(ages: dict[str, int]) -> Panel:
    """Return the chart of waiting messages, by how long they have waited, the longest
    first.
    """
    rows = []
    late = 0
    for name, (words, tone) in _AGES.items():
        if ages[name]:
            number = counted(ages[name])
            pieces = [(min(ages[name], COUNTED), tone)]
            rows.append(Row((words, number), number, f"{number} {words}", pieces))
        if tone != "calm":
            late += ages[name]
    return _chart(
        rows,
        name="waits",
        title="Waiting too long",
        lead=f"Held for more than an hour: {counted(late) if late else 'none'}.",
        head=("Held for", "Messages"),
        empty="No messages are waiting.",
    )


def _times(week: dict[str, Any]) -> Panel:
    """Return the panel that says how long messages were held until a person decided."""
    words = "No decisions in the last 7 days."
    if week["number"]:
        words = (
            "From held to decided by a person, in the last 7 days: "
            f"median {spoken(week['median'])}, 95th percentile {spoken(week['most'])}."
        )
    return Panel(name="times", title="Time to decision", empty=words)


def _people(found: Iterable[dict[str, Any]]) -> Panel:
    """Return how much each reviewer decided, and how long messages were open before;
    sorted by name, not by number.
    """
    rows = []
    for row in found:
        name = row["person__name"] or row["person__email"]
        number = row["number"]
        half = spoken(row["median"]) if row["noted"] else "an unknown time"
        cells = (name, str(number), str(row["approved"]), half)
        said = f"{name}: {number}, median {half}"
        rows.append(Row(cells, f"{number} · median {half}", said, [(number, "blue")]))
    return _chart(
        rows,
        name="people",
        title="Decisions by reviewer",
        lead="In the last 7 days, with the median time a message was open. Messages differ, so this is no ranking.",
        head=("Who", "Decisions", "Approved", "Median"),
        empty="No decisions in the last 7 days.",
    )


def _caught(by_rule: Sequence[tuple[str, int, int]]) -> Panel:
    """Return the chart of rejections and change requests, by the finding that the
    messages had. Each row of `by_rule` is the name of the finding's rule, empty without
    a finding, and the numbers of rejections and of change requests.
    """
    with_finding = [row for row in by_rule if row[0]]
    with_finding.sort(key=lambda row: (-row[1] - row[2], row[0]))
    findings = []
    for rule, rejected, change_requests in with_finding[:SHOWN]:
        published_rule = RULES.get(rule)
        words = published_rule.words if published_rule else rule.replace("_", " ")
        findings.append((words.capitalize(), rejected, change_requests))
    if others := with_finding[SHOWN:]:
        rejected = sum(row[1] for row in others)
        findings.append(("Other findings", rejected, sum(row[2] for row in others)))
    findings += [("No finding", *row[1:]) for row in by_rule if not row[0]]
    rows = []
    for words, rejected, change_requests in findings:
        counts = f"{rejected} rejected"
        if change_requests:
            counts = f"{f'{counts}, ' if rejected else ''}{change_requests} changes requested"
        cells = (words, str(rejected), str(change_requests))
        pieces = [(rejected, "rose"), (change_requests, "amber")]
        rows.append(Row(cells, counts, f"{words}: {counts}", pieces))
    return _chart(
        rows,
        name="caught",
        title="Rejections by finding",
        lead="Rejected, or changes requested, in the last 7 days. A message counts under each of its findings.",
        head=("Finding", "Rejected", "Changes requested"),
        empty="Nothing was rejected in the last 7 days.",
    )


def _chart(rows: Sequence[Row], **more: Any) -> Panel:
    return Panel(
        **more,
        rows=[row.cells for row in rows],
        summary="; ".join(row.said for row in rows),
        bars=bars([(row.cells[0], row.words, row.pieces) for row in rows]),
    )
