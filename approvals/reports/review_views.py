"""The page of the report "Is review real?", and the switch for figures of single people."""

from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from approvals.reports.decisions import may_read_reports
from approvals.reports.review import MOST, review_report
from common.forms import SentenceForm, WordsField
from common.pages import DeskRequest, redirect_with_notice
from people.errors import NotYours
from people.models import PendingChange
from people.second_admin.person_figures import FEWEST, MAX_REASON, set_person_figures
from people.second_admin.setting import ORGANISATION, organisation_settings
from people.sign_in.reauthentication import reauthenticated


class PeopleForm(SentenceForm):
    """Whether figures of single people are shown, and what allows it."""

    on = forms.ChoiceField(choices=[("yes", "Yes"), ("no", "No")])
    because = WordsField(
        required=False,
        max_length=MAX_REASON,
        error_messages={"max_length": f"Keep it under {MAX_REASON} characters."},
    )


@login_required
@require_safe
def review(request: DeskRequest) -> HttpResponse:
    """Show whether review is real, by team first."""
    return _page(request)


@login_required
@require_POST
@reauthenticated
def set_people(request: DeskRequest) -> HttpResponse:
    """Show figures of single people, or of teams only."""
    if not request.actor.is_admin_of_all:
        raise PermissionDenied
    form = PeopleForm(request.POST)
    if not form.is_valid():
        return _page(request, status=422, wrong=form.first_error())
    on = form.cleaned_data["on"] == "yes"
    try:
        set_person_figures(actor=request.actor, on=on, because=form.cleaned_data["because"])
    except NotYours as error:
        return _page(request, status=422, wrong=error.sentence)
    notice = "Figures of single people are shown to admins and auditors." if on else "Only figures of teams are shown."
    return redirect_with_notice(request, notice, "report-review")


def _page(request: DeskRequest, *, status: int = 200, wrong: str = "") -> HttpResponse:
    if not may_read_reports(request.actor):
        raise PermissionDenied
    settings = organisation_settings()
    shows_people = settings.person_figures_since is not None
    report = review_report(request.actor, now=timezone.now(), with_people=shows_people)
    tables = [
        ("groups", "By group", "Group", report.groups),
        ("mailboxes", "By mailbox", "Mailbox", report.mailboxes),
        ("people", "By person", "Who", report.people),
    ]
    context: dict[str, Any] = {
        "report": report,
        "tables": [one for one in tables if one[3]],
        "settings": settings,
        "shows_people": shows_people,
        "may_set": request.actor.is_admin_of_all,
        "waiting_changes": [one for one in PendingChange.objects.at(ORGANISATION) if one.kind == "person_figures"],
        "fewest": FEWEST,
        "most": MOST,
        "wrong": wrong,
        "typed": request.POST if wrong else {},
    }
    return render(request, "approvals/reports/report_review.html", context, status=status)
