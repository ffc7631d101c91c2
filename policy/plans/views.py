"""The pages of review plans: all of them with calendars and who is on duty, one plan,
and one calendar.
"""

import re
from collections.abc import Mapping

from django.db.models import Q
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import (
    require_POST,
    require_safe,
)

from common.actors import Actor
from common.durations import minutes_in_words
from common.pages import (
    DeskRequest,
    first_or_404,
    redirect_with_notice,
    require_get_or_post,
)
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox, may_set
from people.models import PendingChange, Person
from people.sign_in.reauthentication import ask_first, is_recently_authenticated
from policy.calendars import NOTE, is_working_time
from policy.errors import PlanRefused, StalePlan
from policy.models import DutyTurn, ReviewPlan, WorkCalendar
from policy.plans import commands
from policy.plans.deadlines import RISKS, plans
from policy.plans.forms import CalendarForm, DutyForm, PlanForm, people_for

ALL = "all"
_SCOPE = re.compile(r"mailbox-([0-9]{1,18})")
_NOT_YOURS = "Only an admin of everything can set calendars."


def _overview(
    request: DeskRequest, *, error: str = "", status: int = 200
) -> HttpResponse:
    """Show the plans of the mailboxes that the actor sees, who is on duty, and the
    calendars.
    """
    actor = request.actor
    seen = _visible_boxes(actor)
    shown_plans = [
        plan for plan in plans() if plan.mailbox_id is None or plan.mailbox_id in seen
    ]
    turns = DutyTurn.objects.select_related("person", "mailbox", "calendar").order_by(
        "person__name", "pk"
    )
    shown = [
        turn for turn in turns if turn.mailbox_id is None or turn.mailbox_id in seen
    ]
    there = Person.objects.present().filter(duty_turns__in=shown)
    present = set(there.values_list("pk", flat=True))
    # Whether each person is on duty now, in words, and the tone of that.
    lines = []
    for turn in shown:
        status_now = ("Off duty now", "")
        if not turn.person.is_active:
            status_now = ("Deactivated", "amber")
        elif turn.person_id not in present:
            status_now = ("Out of office", "amber")
        elif is_working_time(turn.calendar, timezone.now()):
            status_now = ("On duty now", "green")
        lines.append((turn, status_now, may_set(actor, turn.mailbox)))
    planned = {_scope(plan.mailbox) for plan in shown_plans}
    scopes = _scopes(actor, seen)
    context = {
        "plans": [
            (plan, _scope(plan.mailbox), *_in_words(plan)) for plan in shown_plans
        ],
        "others": [
            (key, "all mailboxes" if key == ALL else words)
            for key, words in scopes.items()
            if key not in planned
        ],
        "turns": lines,
        "calendars": WorkCalendar.objects.order_by("name"),
        "may_set_all": ALL in scopes,
        "scopes": scopes,
        "people": _people_of(scopes, seen),
        "error": error,
    }
    return render(request, "policy/review_plans.html", context, status=status)


review_plans = require_safe(_overview)


def _visible_boxes(actor: Actor) -> dict[int, Mailbox]:
    boxes = Mailbox.objects.at_work().there().visible_to(actor)
    return {box.pk: box for box in boxes.select_related("connection")}


def _scopes(actor: Actor, seen: Mapping[int, Mailbox]) -> dict[str, str]:
    """Return the mailboxes whose plans the actor may set, by what forms and addresses
    call them.
    """
    found = {ALL: "All mailboxes"} if may_set(actor, None) else {}
    for box in seen.values():
        if may_set(actor, box):
            found[_scope(box)] = str(box)
    return found


def _people_of(
    scopes: Mapping[str, str], seen: Mapping[int, Mailbox]
) -> dict[str, str]:
    if ALL in scopes:
        return people_for(None)
    found: dict[str, str] = {}
    for box in seen.values():
        if _scope(box) in scopes:
            found |= people_for(box)
    return found


def _scope(mailbox: Mailbox | None) -> str:
    return ALL if mailbox is None else f"mailbox-{mailbox.pk}"


def _in_words(plan: ReviewPlan) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Return the targets of a plan by risk, and the steps of its ladder."""
    found = []
    for risk, words in RISKS.items():
        look, decision = (
            minutes_in_words(one) if one else ""
            for one in plan.targets.get(risk) or (None, None)
        )
        if look or decision:
            found.append((words, look, decision))
    return found, [commands.step_in_words(step) for step in plan.steps.all()]


@require_safe
def review_plan(request: DeskRequest, scope: str) -> HttpResponse:
    """Show one plan, with its form for those who may change it."""
    mailbox = _get_visible_scope_or_404(request, scope)
    return _plan_page(request, mailbox)


@require_POST
def save_review_plan(request: DeskRequest, scope: str) -> HttpResponse:
    """Save a plan."""
    mailbox = _get_visible_scope_or_404(request, scope)
    if not may_set(request.actor, mailbox):
        return _plan_page(
            request,
            mailbox,
            status=403,
            error="Only an admin of what it is for can change this plan.",
        )
    form = PlanForm(request.POST, plan=None, people=people_for(mailbox))
    if not form.is_valid():
        return _plan_page(
            request, mailbox, form=form, status=422, error=form.first_error()
        )
    try:
        commands.save_plan(mailbox=mailbox, actor=request.actor, **form.wanted())
    except StalePlan as stale:
        return _plan_page(
            request, mailbox, form=form, status=409, error=stale.sentence, is_stale=True
        )
    notice = "The plan is saved. Messages that are waiting follow it from now on."
    return redirect_with_notice(request, notice, "review-plans")


@require_POST
def remove_review_plan(request: DeskRequest, scope: str) -> HttpResponse:
    """Remove a plan."""
    mailbox = _get_visible_scope_or_404(request, scope)
    try:
        commands.remove_plan(mailbox=mailbox, actor=request.actor)
    except ActNotAllowed as error:
        return _plan_page(request, mailbox, status=403, error=error.sentence)
    return redirect_with_notice(request, "The plan is removed.", "review-plans")


def _get_visible_scope_or_404(request: DeskRequest, scope: str) -> Mailbox | None:
    if scope == ALL:
        return None
    missing = "There is no such mailbox, or you do not see it."
    named = _SCOPE.fullmatch(scope)
    if named is None:
        raise Http404(missing)
    visible = Mailbox.objects.at_work().visible_to(request.actor)
    found = visible.select_related("connection").filter(pk=named[1])
    return first_or_404(found, missing)


def _plan_page(
    request: DeskRequest,
    mailbox: Mailbox | None,
    *,
    form: PlanForm | None = None,
    error: str = "",
    is_stale: bool = False,
    status: int = 200,
) -> HttpResponse:
    plan = plans().filter(mailbox=mailbox).first()
    may_change = may_set(request.actor, mailbox)
    if form is None and may_change:
        form = PlanForm(None, plan=plan, people=people_for(mailbox))
    context = {
        # The form has the version of now with what was typed, so the page shows both.
        "plan": plan,
        "box": mailbox,
        "scope": _scope(mailbox),
        "may_change": may_change,
        "form": form,
        "error": error,
        "is_stale": is_stale,
        "in_words": _in_words(plan) if plan else ((), ()),
    }
    return render(request, "policy/review_plan.html", context, status=status)


@require_get_or_post
def add_calendar(request: DeskRequest) -> HttpResponse:
    """Show the form for a new calendar; make it."""
    if not may_set(request.actor, None):
        return _calendar_page(request, None, status=403, error=_NOT_YOURS)
    if request.method == "POST":
        return _save_calendar(request, None)
    return _calendar_page(request, None)


@require_safe
def calendar(request: DeskRequest, calendar_id: int) -> HttpResponse:
    """Show a calendar, with its form for those who may change it."""
    return _calendar_page(request, _get_calendar_or_404(calendar_id))


@require_POST
def save_calendar(request: DeskRequest, calendar_id: int) -> HttpResponse:
    """Change a calendar. That asks to confirm who one is where a rule names it: it
    changes who approves when.
    """
    found = _get_calendar_or_404(calendar_id)
    if not may_set(request.actor, None):
        return _calendar_page(request, found, status=403, error=_NOT_YOURS)
    if commands.rules_naming(found) and not is_recently_authenticated(request):
        return ask_first(request)
    return _save_calendar(request, found)


@require_POST
def remove_calendar(request: DeskRequest, calendar_id: int) -> HttpResponse:
    """Remove a calendar that nothing uses."""
    found = _get_calendar_or_404(calendar_id)
    try:
        commands.remove_calendar(calendar=found, actor=request.actor)
    except ActNotAllowed as error:
        return _calendar_page(request, found, status=403, error=error.sentence)
    except PlanRefused as refused:
        return _calendar_page(request, found, status=409, error=refused.sentence)
    return redirect_with_notice(request, f"{found.name} is removed.", "review-plans")


def _get_calendar_or_404(calendar_id: int) -> WorkCalendar:
    return first_or_404(
        WorkCalendar.objects.filter(pk=calendar_id), "There is no such calendar."
    )


def _save_calendar(request: DeskRequest, found: WorkCalendar | None) -> HttpResponse:
    form = CalendarForm(request.POST, calendar=found)
    if not form.is_valid():
        return _calendar_page(request, found, form=form, status=422)
    try:
        saved = commands.save_calendar(
            actor=request.actor, calendar=found, **form.wanted()
        )
    except StalePlan as stale:
        # With the form as it was typed, so that saving once more replaces what is
        # stored now.
        stored = WorkCalendar.objects.filter(pk=found.pk).first() if found else None
        return _calendar_page(
            request, stored, form=form, status=409, error=stale.sentence
        )
    except PlanRefused as refused:
        form.add_error("name", refused.sentence)
        return _calendar_page(request, found, form=form, status=422)
    return redirect_with_notice(request, f"{saved.name} is saved.", "review-plans")


def _calendar_page(
    request: DeskRequest,
    found: WorkCalendar | None,
    *,
    form: CalendarForm | None = None,
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    seen = commands.seen_calendar(found) if found else ""
    context = {
        "calendar": found,
        "form": form or CalendarForm(None, calendar=found),
        # After an error of the form it is still the one that was shown first.
        "seen": form["seen"].value() if form and form.errors else seen,
        "note": NOTE,
        "rules": commands.rules_naming(found) if found and request.actor.scopes else (),
        "waiting_changes": PendingChange.objects.at("calendar", found.pk)
        if found
        else (),
        "error": error,
        "may_change": may_set(request.actor, None),
    }
    return render(request, "policy/calendar.html", context, status=status)


@require_POST
def add_duty(request: DeskRequest) -> HttpResponse:
    """Put a person on duty."""
    actor = request.actor
    seen = _visible_boxes(actor)
    scopes = _scopes(actor, seen)
    if not scopes:
        return _overview(
            request, status=403, error="Only an admin can set who is on duty."
        )
    form = DutyForm(request.POST, people=_people_of(scopes, seen), scopes=scopes)
    if not form.is_valid():
        return _overview(request, status=422, error=form.first_error())
    asked = form.cleaned_data
    mailbox = next(
        (box for box in seen.values() if _scope(box) == asked["mailbox"]), None
    )
    person = Person.objects.get(pk=int(asked["person"]))
    commands.add_duty(
        person=person, mailbox=mailbox, calendar=asked["calendar"], actor=actor
    )
    return redirect_with_notice(request, f"{person} is on duty.", "review-plans")


@require_POST
def end_duty(request: DeskRequest, turn_id: int) -> HttpResponse:
    """End a person's duty."""
    visible = Q(mailbox=None) | Q(mailbox__in=Mailbox.objects.visible_to(request.actor))
    turns = DutyTurn.objects.select_related(
        "person", "mailbox__connection", "calendar"
    ).filter(visible, pk=turn_id)
    turn = first_or_404(
        turns,
        "This duty has ended already, or it is for a mailbox that you do not see.",
    )
    try:
        commands.end_duty(turn=turn, actor=request.actor)
    except ActNotAllowed as error:
        return _overview(request, status=403, error=error.sentence)
    return redirect_with_notice(
        request, f"{turn.person} is no longer on duty there.", "review-plans"
    )
