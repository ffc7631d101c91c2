"""The pages of the report of decisions: a month, and the rows behind one of its
figures.
"""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from approvals.reports.decisions import (
    ELSEWHERE,
    HEADS,
    PARTS,
    SUMMED,
    Asked,
    Month,
    Report,
    compare_with_ledger,
    first_month,
    may_read_reports,
    refused_presses,
    report_of,
    review_of,
    rows_of,
    words_of,
)
from audit.recording import record
from common.charts import spoken
from common.csv_rows import csv_row
from common.pages import DeskRequest, SentenceForm, WordsField, redirect_with_notice
from common.time_zones import zone_name
from people.errors import NotYours
from people.models import PendingChange
from people.second_admin.setting import (
    FEWEST,
    MAX_REASON,
    organisation_settings,
    set_person_figures,
    shows_people,
)
from people.sign_in.reauthentication import reauthenticated

_KEY = "[0-9]{1,18}"
# As `Decision.rule` names what decided without a person.
_RULE = "[a-z_]{1,40}|standing [0-9]{1,9} version [0-9]{1,9}|policy [0-9]{1,9}: [a-z0-9_-]{1,30}"


class DecisionsForm(forms.Form):
    """A month and the chosen rows. An invalid month means the current one; invalid rows
    mean none.
    """

    month = forms.CharField(max_length=7, required=False)
    who = forms.RegexField(
        f"^(person-{_KEY}|rule-({_RULE})|{ELSEWHERE})$", required=False
    )
    where = forms.RegexField(f"^{_KEY}(-{_KEY})?$", required=False)
    figure = forms.ChoiceField(
        choices=[(name, name) for name in (*SUMMED, *PARTS)], required=False
    )
    page = forms.IntegerField(min_value=1, max_value=10_000, required=False)

    def __init__(self, data: Any, *, now: Month) -> None:
        super().__init__(data)
        self.this_month = now
        self.is_valid()

    @property
    def asked_month(self) -> Month:
        return (
            Month.read(self.cleaned_data.get("month", ""), self.this_month.zone)
            or self.this_month
        )

    @property
    def asked(self) -> Asked | None:
        """Return whose rows are asked for; None where no rows are called so."""
        names = ("who", "where", "figure")
        if any(name in self.errors for name in names):
            return None
        return Asked(self.asked_month, *(self.cleaned_data[name] for name in names))


class PeopleForm(SentenceForm):
    """Whether figures of single people are shown, and what allows it."""

    on = forms.ChoiceField(choices=[("yes", "Yes"), ("no", "No")])
    because = WordsField(
        required=False,
        max_length=MAX_REASON,
        error_messages={"max_length": f"Keep it under {MAX_REASON} characters."},
    )


PAGE = 100


@require_safe
def decisions(request: DeskRequest) -> HttpResponse:
    """Show a month in figures, each leading to its rows."""
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
    form = _form(request, request.GET)
    month = form.asked_month
    report = report_of(request.actor, month)
    first = first_month(month.zone, timezone.now())
    settings = organisation_settings()
    context: dict[str, Any] = {
        "report": report,
        "month": month,
        "before": month.before if month > first else None,
        "after": month.after if month < form.this_month else None,
        "is_running": month == form.this_month,
        "is_to_come": month > form.this_month,
        "presses": refused_presses(request.actor, month),
        "review": review_of(request.actor, month),
        "fewest": FEWEST,
        "settings": settings,
        "shows_people": settings.person_figures_since is not None,
        "waiting_changes": PendingChange.objects.at("report-decisions"),
        "may_set": request.actor.is_admin_of_all,
        "wrong": wrong,
        "typed": request.POST if wrong else {},
        "comparison": compare_with_ledger(request.actor, month),
        "heads": [*SUMMED.values()],
        "part_heads": [*PARTS.values()],
        "panel": {
            "name": "decided",
            "title": f"Decided in {month.words}",
            "summary": report.summary,
        },
    }
    return render(
        request,
        "approvals/reports/report_decisions.html",
        context,
        status=422 if wrong else 200,
    )


@require_safe
def rows(request: DeskRequest) -> HttpResponse:
    """Show the decisions that a figure counts, and the messages that were decided
    elsewhere.
    """
    form = _form(request, request.GET)
    asked = form.asked
    if asked is None:
        raise Http404("The report has no such figure.")
    if asked.who.startswith("person-") and not shows_people():
        raise Http404("Figures of single people are not shown.")
    made, past = rows_of(request.actor, asked)
    page = form.cleaned_data.get("page") or 1
    number = made.count()
    gone = past.count()
    begin = (page - 1) * PAGE
    end = page * PAGE
    # Those decided elsewhere come after the decisions.
    shown = list(made[begin:end])
    shown_past = list(past[max(0, begin - number) : max(0, end - number)])
    context: dict[str, Any] = {
        "asked": asked,
        "words": words_of(request.actor, asked),
        "rows": [(one, spoken(one.took)) for one in shown],
        "past": shown_past,
        "number": number + gone,
        "is_cut": number + gone > PAGE,
        "from": begin + 1,
        "to": begin + len(shown) + len(shown_past),
        "earlier": page - 1,
        "later": page + 1 if end < number + gone else 0,
    }
    return render(request, "approvals/reports/report_decision_rows.html", context)


@require_POST
def file(request: DeskRequest) -> StreamingHttpResponse:
    """Export a month as CSV; the export is recorded in the ledger."""
    form = _form(request, request.POST)
    report = report_of(request.actor, form.asked_month)
    number = len(report.people) + len(report.places)
    with transaction.atomic():
        record(
            "ledger.report_taken",
            actor=request.actor,
            details={
                "report": "who decided what",
                "month": str(report.month),
                "zone": report.month.zone,
                "rows": str(number),
            },
        )
    return StreamingHttpResponse(
        _lines(report),
        content_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="decisions-{report.month}.csv"'
        },
    )


def _form(request: DeskRequest, data: Any) -> DecisionsForm:
    if not may_read_reports(request.actor):
        raise PermissionDenied
    return DecisionsForm(data, now=Month.of(timezone.now(), zone_name()))


def _lines(report: Report) -> Iterator[str]:
    columns = (*HEADS, "median_seconds")
    yield csv_row(("month", "time_zone", "by", "name", "connection", *columns))
    for by, found in (
        ("person", report.people),
        ("mailbox", report.places),
        ("all", (report.total,)),
    ):
        for row in found:
            numbers = [str(cell.number) for cell in row.cells]
            median = "" if row.seconds is None else f"{row.seconds:.0f}"
            about = (report.month, report.month.zone, by, row.label, row.note)
            yield csv_row((*about, *numbers, median))
