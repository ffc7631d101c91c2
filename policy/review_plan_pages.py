"""The pages of review plans: an overview with who is on duty, and the form of a plan. A
plan, like a turn of duty, is for one mailbox or for all of them; in URLs, 0 means all.
"""

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from common.actors import Actor, Role
from common.durations import minutes_in_words, read_minutes
from common.errors import SentenceError
from common.pages import (
    DeskRequest,
    DrawnForm,
    answer,
    changes,
    cleaned,
    first_or_404,
    posted,
    require_get_or_post,
    tick_field,
)
from mirror.models import Mailbox, may_set
from people.models import Person
from policy import review_plans as commands
from policy.calendars import DAY, is_working_time
from policy.errors import seen_state
from policy.models import DutyTurn, Group, LadderStep, ReviewPlan, WorkCalendar
from policy.pages import SettingForm, edit_setting
from policy.review_plans import KINDS, RISKS, WHOM, plans
from policy.rules.fields import ReadField, pick_field

STEPS = range(1, 9)
# The longest target, in minutes: two weeks.
_LONGEST = 14 * DAY
# When a step is due.
_WHEN = {
    f"{basis.value} {side}": f"{side} the {basis.label} is due"
    for basis in reversed(LadderStep.Basis)
    for side in ("after", "before")
}


def _minutes(typed: str) -> int | None:
    """Return a length of time such as 1 h 30 min; None if it is empty or zero. Raises
    ValueError with a sentence.
    """
    minutes = read_minutes(typed) if typed else 0
    if minutes > _LONGEST:
        raise ValueError("At most 336 h.")
    return minutes or None


def _minutes_field(label: str, minutes: int | None) -> ReadField:
    shown = minutes_in_words(abs(minutes)) if minutes else ""
    return ReadField(label, _minutes, max_length=20, initial=shown)


class PlanForm(SettingForm):
    """A review plan: its calendar, its targets by risk, and the steps of its ladder. A
    step for nobody is none.
    """

    layout = "\n".join(
        (
            "| * Hours and duty | calendar assigns_in_turn | Targets and steps count time in these hours only.",
            "| * Targets, from when a message is held | *-high *-notice *-other | Such as 30 min, 4 h or 1 h 30 min. "
            "A risk without its own target has that of the others. "
            "A first look is when anybody opens the message.",
            *(f"steps | Step {n} | step-{n}-* |" for n in STEPS),
        )
    )
    parts = {"steps": ("Steps for late messages", "Add a step")}
    adds_in_turn = True
    preset = tuple(f"step-{n}-{name}" for n in STEPS for name in ("when", "act"))

    calendar = forms.ModelChoiceField(
        WorkCalendar.objects.order_by("name"),
        label="Working hours",
        required=False,
        empty_label="All hours count",
    )
    assigns_in_turn = tick_field(
        "Assign new messages in turn",
        "To the person on duty who was assigned one longest ago.",
    )

    def __init__(self, data: Any, mailbox: Mailbox | None) -> None:
        self.mailbox = mailbox
        self.stored = plans().filter(mailbox=mailbox).first()
        plan = self.stored or ReviewPlan()
        steps = list(plan.steps.all()) if self.stored else []
        words = commands.plan_in_words(plan, steps) if self.stored else ""
        super().__init__(
            data,
            seen_state(words),
            calendar=plan.calendar,
            assigns_in_turn=plan.assigns_in_turn,
        )
        for risk, name in RISKS.items():
            targets = plan.targets.get(risk) or (None, None)
            for (kind, label), minutes in zip(KINDS.items(), targets, strict=True):
                self.fields[_target(kind, risk)] = _minutes_field(
                    f"{name}: {label}", minutes
                )
        whom = {"": "No step"}
        whom |= {code: words.capitalize() for code, words in WHOM.items()}
        whom |= {f"group-{one.pk}": f"Group {one}" for one in Group.objects.all()}
        for n in STEPS:
            step = LadderStep(minutes=0, basis="decision", act="remind")
            if n <= len(steps):
                step = steps[n - 1]
            side = "before" if step.minutes < 0 else "after"
            self.initial[f"step-{n}-whom"] = f"{step.whom}-{step.group_id or ''}".strip(
                "-"
            )
            self.initial[f"step-{n}-act"] = step.act
            self.initial[f"step-{n}-when"] = f"{step.basis} {side}"
            self.fields |= {
                f"step-{n}-whom": pick_field("Whom", whom),
                f"step-{n}-act": pick_field("Do", dict(LadderStep.Act.choices)),
                f"step-{n}-minutes": _minutes_field(
                    "Time, empty: at once", step.minutes
                ),
                f"step-{n}-when": pick_field("When", _WHEN),
            }

    def clean(self) -> None:
        if self.errors:
            return
        typed = self.cleaned_data
        typed["targets"] = {
            risk: [typed.pop(_target(kind, risk)) for kind in KINDS] for risk in RISKS
        }
        typed["steps"] = []
        for n in STEPS:
            whom, _, key = typed.pop(f"step-{n}-whom").partition("-")
            act = typed.pop(f"step-{n}-act") or LadderStep.Act.REMIND
            minutes = typed.pop(f"step-{n}-minutes") or 0
            basis, side = (typed.pop(f"step-{n}-when") or next(iter(_WHEN))).split()
            if act == LadderStep.Act.ASSIGN and whom in ("destinations", "holder"):
                self.add_error(
                    f"step-{n}-whom",
                    f"A message can be assigned to people, not to {WHOM[whom]}.",
                )
            if whom:
                step = {"basis": basis, "act": act, "whom": whom}
                step["minutes"] = -minutes if side == "before" else minutes
                if key:
                    step["group_id"] = int(key)
                typed["steps"].append(step)
        if not any(any(both) for both in typed["targets"].values()):
            if typed["steps"]:
                self.add_error(
                    None,
                    "The steps need a target: set one for the first look or the decision.",
                )
            elif not typed["assigns_in_turn"]:
                self.add_error(None, "Set a target, or assign messages in turn.")

    def save(self, actor: Actor) -> str:
        commands.save_plan(mailbox=self.mailbox, actor=actor, **self.cleaned_data)
        return "The plan is saved. Messages that are waiting follow it from now on."


def _target(kind: str, risk: str) -> str:
    """Return the name of the field of a target."""
    return f"{kind}-{risk or 'other'}"


class DutyForm(DrawnForm):
    """A person to be on duty, for which mailbox and when."""

    person = forms.ModelChoiceField(Person.objects.none(), empty_label=None)
    mailbox = forms.ModelChoiceField(
        Mailbox.objects.none(), label="For", empty_label="All mailboxes"
    )
    calendar = forms.ModelChoiceField(
        WorkCalendar.objects.order_by("name"),
        label="When",
        required=False,
        empty_label="Always",
    )

    def __init__(self, data: Any, actor: Actor) -> None:
        super().__init__(data)
        fields: Any = self.fields
        people = Person.objects.read_by(actor).filter(grants__role=Role.REVIEWER)
        active = people.filter(is_active=True).distinct()
        fields["person"].queryset = active.order_by("name", "email")
        fields["mailbox"].queryset = Mailbox.objects.filter(
            pk__in=[one.pk for one in _visible(actor) if may_set(actor, one)]
        )
        fields["mailbox"].required = not may_set(actor, None)


def _visible(actor: Actor) -> QuerySet[Mailbox]:
    mailboxes = Mailbox.objects.at_work().active().visible_to(actor)
    return mailboxes.select_related("connection")


def _turns(actor: Actor) -> QuerySet[DutyTurn]:
    """Return the turns of duty that the actor sees."""
    about = Q(mailbox=None) | Q(mailbox__in=_visible(actor))
    named = DutyTurn.objects.select_related("person", "mailbox__connection", "calendar")
    return named.filter(about).order_by("person__name", "pk")


def _overview(
    request: DeskRequest, *, error: SentenceError | None = None, **_: Any
) -> HttpResponse:
    """Show the plans of the mailboxes that the actor sees, and who is on duty."""
    actor = request.actor
    visible = list(_visible(actor))
    shown_plans = plans().filter(Q(mailbox=None) | Q(mailbox__in=visible))
    planned = {plan.mailbox for plan in shown_plans}
    settable = [one for one in (None, *visible) if may_set(actor, one)]
    context = {
        "plans": [
            (
                plan,
                may_set(actor, plan.mailbox),
                commands.plan_lines(plan, plan.steps.all()),
            )
            for plan in shown_plans
        ],
        "without_plan": [one for one in settable if one not in planned],
        # Each turn, whether its hours are now, and whether the actor may end it.
        "turns": [
            (
                turn,
                is_working_time(turn.calendar, timezone.now()),
                may_set(actor, turn.mailbox),
            )
            for turn in _turns(actor)
        ],
        "present": set(Person.objects.present()),
        "form": DutyForm(request.POST or None, actor) if settable else None,
    }
    return answer(request, "policy/review_plans.html", context, error)


review_plans = require_safe(_overview)


@require_get_or_post
def review_plan(request: DeskRequest, mailbox_id: int) -> HttpResponse:
    """Show the form of a plan. On POST, save it."""
    mailbox = _mailbox_or_404(request, mailbox_id)
    if not may_set(request.actor, mailbox):
        raise PermissionDenied("Only an admin of its mailboxes can change this plan.")
    form = PlanForm(posted(request), mailbox)
    return edit_setting(
        request,
        form,
        to="review-plans",
        title=f"Review plan of {mailbox or 'all mailboxes'}",
        above=("Review plans", "review-plans"),
        stored=form.stored,
        page="review-plan",
        key=mailbox_id,
    )


@require_POST
@changes(_overview, to="review-plans")
def remove_review_plan(request: DeskRequest, mailbox_id: int) -> str:
    """Remove a plan."""
    mailbox = _mailbox_or_404(request, mailbox_id)
    commands.remove_plan(mailbox=mailbox, actor=request.actor)
    return "The plan is removed."


def _mailbox_or_404(request: DeskRequest, mailbox_id: int) -> Mailbox | None:
    """Return a mailbox; None, which means all, for 0."""
    if mailbox_id == 0:
        return None
    visible = Mailbox.objects.at_work().visible_to(request.actor)
    return first_or_404(
        visible.select_related("connection").filter(pk=mailbox_id),
        "There is no such mailbox, or you do not see it.",
    )


@require_POST
@changes(_overview, to="review-plans")
def add_duty(request: DeskRequest) -> str:
    """Put a person on duty."""
    wanted = cleaned(DutyForm(request.POST, request.actor))
    commands.add_duty(actor=request.actor, **wanted)
    return f"{wanted['person']} is on duty."


@require_POST
@changes(_overview, to="review-plans")
def end_duty(request: DeskRequest, turn_id: int) -> str:
    """End a person's duty."""
    turn = first_or_404(
        _turns(request.actor).filter(pk=turn_id),
        "This duty has ended already, or it is for a mailbox that you do not see.",
    )
    commands.end_duty(turn=turn, actor=request.actor)
    return f"{turn.person} is no longer on duty there."
