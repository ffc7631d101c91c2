"""The pages of review plans: an overview with who is on duty, and a page for each plan.

A plan, like a turn of duty, is for one mailbox or for all of them. URLs and forms name
that as the scope: `all`, or `mailbox-` and the mailbox's key.
"""

import re
from collections.abc import Mapping
from typing import Any

from django.db.models import Q
from django.http import Http404, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from common.actors import Actor
from common.durations import minutes_in_words
from common.errors import SentenceError
from common.pages import (
    DeskRequest,
    FormInvalid,
    answer,
    changes,
    cleaned,
    first_or_404,
    redirect_with_notice,
)
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox, may_set
from people.models import Person
from policy.calendars import is_working_time
from policy.errors import StalePlan
from policy.models import DutyTurn, ReviewPlan, WorkCalendar
from policy.plans import commands
from policy.plans.deadlines import RISKS, plans
from policy.plans.forms import DutyForm, PlanForm, people_for

ALL = "all"
_MAILBOX_SCOPE = re.compile(r"mailbox-([0-9]{1,18})")


def _overview(
    request: DeskRequest, *, error: SentenceError | None = None, **_: Any
) -> HttpResponse:
    """Show the plans of the mailboxes that the actor sees, and who is on duty."""
    actor = request.actor
    visible = _visible_mailboxes(actor)
    shown_plans = [
        plan
        for plan in plans()
        if plan.mailbox_id is None or plan.mailbox_id in visible
    ]
    turns = DutyTurn.objects.select_related("person", "mailbox", "calendar").order_by(
        "person__name", "pk"
    )
    shown_turns = [
        turn for turn in turns if turn.mailbox_id is None or turn.mailbox_id in visible
    ]
    in_office = Person.objects.present().filter(duty_turns__in=shown_turns)
    present = set(in_office.values_list("pk", flat=True))
    # Each turn, whether the person is on duty now (words, and the colour of the chip),
    # and whether the actor may end it.
    lines = []
    for turn in shown_turns:
        status_now = ("Off duty now", "")
        if not turn.person.is_active:
            status_now = ("Deactivated", "amber")
        elif turn.person_id not in present:
            status_now = ("Out of office", "amber")
        elif is_working_time(turn.calendar, timezone.now()):
            status_now = ("On duty now", "green")
        lines.append((turn, status_now, may_set(actor, turn.mailbox)))
    planned = {_scope_of(plan.mailbox) for plan in shown_plans}
    scopes = _settable_scopes(actor, visible)
    context = {
        "plans": [
            (plan, _scope_of(plan.mailbox), *_in_words(plan)) for plan in shown_plans
        ],
        "without_plan": [
            (scope, "all mailboxes" if scope == ALL else name)
            for scope, name in scopes.items()
            if scope not in planned
        ],
        "turns": lines,
        "calendars": WorkCalendar.objects.order_by("name"),
        "scopes": scopes,
        "people": _possible_people(scopes, visible),
    }
    return answer(request, "policy/review_plans.html", context, error)


review_plans = require_safe(_overview)


def _visible_mailboxes(actor: Actor) -> dict[int, Mailbox]:
    mailboxes = Mailbox.objects.at_work().active().visible_to(actor)
    return {mailbox.pk: mailbox for mailbox in mailboxes.select_related("connection")}


def _settable_scopes(actor: Actor, visible: Mapping[int, Mailbox]) -> dict[str, str]:
    """Return the scopes whose plans and duties the actor may set, with their names."""
    scopes = {ALL: "All mailboxes"} if may_set(actor, None) else {}
    for mailbox in visible.values():
        if may_set(actor, mailbox):
            scopes[_scope_of(mailbox)] = str(mailbox)
    return scopes


def _possible_people(
    scopes: Mapping[str, str], visible: Mapping[int, Mailbox]
) -> dict[str, str]:
    """Return the people who can be on duty in one of these scopes, as choices."""
    if ALL in scopes:
        return people_for(None)
    people: dict[str, str] = {}
    for mailbox in visible.values():
        if _scope_of(mailbox) in scopes:
            people |= people_for(mailbox)
    return people


def _scope_of(mailbox: Mailbox | None) -> str:
    return ALL if mailbox is None else f"mailbox-{mailbox.pk}"


def _in_words(plan: ReviewPlan) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Return a plan's targets as (risk, time until opened, time until decided), and the
    steps of its ladder as texts.
    """
    targets = []
    for risk, words in RISKS.items():
        times = [
            minutes_in_words(minutes) if minutes else ""
            for minutes in plan.targets.get(risk) or (None, None)
        ]
        if any(times):
            targets.append((words, times[0], times[1]))
    return targets, [commands.step_in_words(step) for step in plan.steps.all()]


def _plan_page(
    request: DeskRequest,
    scope: str,
    *,
    form: PlanForm | None = None,
    error: SentenceError | None = None,
) -> HttpResponse:
    """Show one plan, with its form for those who may change it. `form` is a filled-in
    form with errors, if there is one.
    """
    mailbox = _get_visible_mailbox_or_404(request, scope)
    plan = plans().filter(mailbox=mailbox).first()
    may_change = may_set(request.actor, mailbox)
    if form is None and may_change:
        form = PlanForm(None, plan=plan, people=people_for(mailbox))
    context = {
        # After a conflict the page shows both: the stored plan, and in the form what
        # was typed.
        "plan": plan,
        "box": mailbox,
        "scope": scope,
        "may_change": may_change,
        "form": form,
        "is_stale": isinstance(error, StalePlan),
        "in_words": _in_words(plan) if plan else ((), ()),
    }
    return answer(request, "policy/review_plan.html", context, error)


review_plan = require_safe(_plan_page)


@require_POST
def save_review_plan(request: DeskRequest, scope: str) -> HttpResponse:
    """Save a plan."""
    mailbox = _get_visible_mailbox_or_404(request, scope)
    if not may_set(request.actor, mailbox):
        refusal = ActNotAllowed("Only an admin of its mailboxes can change this plan.")
        return _plan_page(request, scope, error=refusal)
    plan = plans().filter(mailbox=mailbox).first()
    form = PlanForm(request.POST, plan=plan, people=people_for(mailbox))
    try:
        cleaned(form)
        commands.save_plan(mailbox=mailbox, actor=request.actor, **form.wanted())
    except (FormInvalid, StalePlan) as error:
        return _plan_page(request, scope, form=form, error=error)
    notice = "The plan is saved. Messages that are waiting follow it from now on."
    return redirect_with_notice(request, notice, "review-plans")


@require_POST
@changes(_plan_page, to="review-plans")
def remove_review_plan(request: DeskRequest, scope: str) -> str:
    """Remove a plan."""
    mailbox = _get_visible_mailbox_or_404(request, scope)
    commands.remove_plan(mailbox=mailbox, actor=request.actor)
    return "The plan is removed."


def _get_visible_mailbox_or_404(request: DeskRequest, scope: str) -> Mailbox | None:
    """Return the mailbox of a scope; None for all mailboxes."""
    if scope == ALL:
        return None
    missing = "There is no such mailbox, or you do not see it."
    match = _MAILBOX_SCOPE.fullmatch(scope)
    if match is None:
        raise Http404(missing)
    visible = Mailbox.objects.at_work().visible_to(request.actor)
    mailboxes = visible.select_related("connection").filter(pk=match[1])
    return first_or_404(mailboxes, missing)


@require_POST
@changes(_overview, to="review-plans")
def add_duty(request: DeskRequest) -> str:
    """Put a person on duty."""
    actor = request.actor
    visible = _visible_mailboxes(actor)
    scopes = _settable_scopes(actor, visible)
    if not scopes:
        raise ActNotAllowed("Only an admin can set who is on duty.")
    people = _possible_people(scopes, visible)
    data = cleaned(DutyForm(request.POST, people=people, scopes=scopes))
    mailbox = next(
        (one for one in visible.values() if _scope_of(one) == data["mailbox"]), None
    )
    person = Person.objects.get(pk=int(data["person"]))
    commands.add_duty(
        person=person, mailbox=mailbox, calendar=data["calendar"], actor=actor
    )
    return f"{person} is on duty."


@require_POST
@changes(_overview, to="review-plans")
def end_duty(request: DeskRequest, turn_id: int) -> str:
    """End a person's duty."""
    visible = Q(mailbox=None) | Q(mailbox__in=Mailbox.objects.visible_to(request.actor))
    turns = DutyTurn.objects.select_related(
        "person", "mailbox__connection", "calendar"
    ).filter(visible, pk=turn_id)
    turn = first_or_404(
        turns,
        "This duty has ended already, or it is for a mailbox that you do not see.",
    )
    commands.end_duty(turn=turn, actor=request.actor)
    return f"{turn.person} is no longer on duty there."
