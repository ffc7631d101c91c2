"""The forms that admins fill in for review plans and who is on duty."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms

from common.actors import Role
from common.durations import minutes_in_words, read_minutes
from common.pages import SentenceForm, choices_by_pk, same_error
from mirror.models import Mailbox
from people.models import Person
from policy.calendars import DAY
from policy.models import Group, LadderStep, ReviewPlan, WorkCalendar
from policy.plans.commands import WantedStep
from policy.plans.deadlines import RISKS

MAX_STEPS = 8
KINDS = {"look": "First look", "decision": "Decision"}
# The longest target, in minutes: two weeks.
_LONGEST = 14 * DAY


class MinutesField(forms.CharField):
    """A length of time such as 1 h 30 min, as minutes; None if it is empty or zero."""

    def clean(self, value: Any) -> int | None:
        typed = super().clean(value)
        try:
            minutes = read_minutes(typed) if typed else 0
        except ValueError as error:
            raise forms.ValidationError(f"{typed[:20]}: {error}") from None
        if minutes > _LONGEST:
            raise forms.ValidationError(f"{typed[:20]}: At most 336 h.")
        return minutes or None

    def prepare_value(self, value: Any) -> Any:
        return minutes_in_words(value) if isinstance(value, int) else value


def _from_list(label: str, **more: Any) -> forms.ChoiceField:
    """Return a field whose value is chosen from a list."""
    messages = same_error("choose from the lists.")
    return forms.ChoiceField(label=label, error_messages=messages, **more)


class StepForm(SentenceForm):
    """One step of a plan's ladder; an empty `whom` means that there is no step."""

    offset = MinutesField(label="Time", required=False)
    side = _from_list(
        "When", choices=[(one, one) for one in ("before", "after")], initial="after"
    )
    basis = _from_list(
        "Target", choices=LadderStep.Basis.choices, initial=LadderStep.Basis.DECISION
    )
    act = _from_list(
        "Do", choices=LadderStep.Act.choices, initial=LadderStep.Act.REMIND
    )
    whom = _from_list("Whom", required=False)

    def __init__(
        self,
        number: int,
        data: Any,
        step: LadderStep | None,
        whom: Iterable[tuple[str, str]],
    ) -> None:
        initial = {}
        if step:
            key = step.person_id or step.group_id
            initial = {
                "offset": abs(step.minutes) or None,
                "side": "before" if step.minutes < 0 else "after",
                "basis": step.basis,
                "act": step.act,
                "whom": f"{step.whom}-{key}" if key else step.whom,
            }
        super().__init__(data, initial=initial, prefix=f"step-{number}")
        self.number = number
        self.fields["whom"].choices = [("", "No step"), *whom]  # type: ignore[attr-defined]

    def clean(self) -> None:
        cleaned = self.cleaned_data
        if cleaned.get("act") == LadderStep.Act.ASSIGN and cleaned.get("whom") in (
            "destinations",
            "holder",
        ):
            whom = LadderStep.Whom(cleaned["whom"]).label
            self.add_error(
                "whom", f"a message can be assigned to people, not to {whom}."
            )

    def wanted(self) -> WantedStep:
        """Return the step as it was filled in."""
        data = self.cleaned_data
        whom, _, key = data["whom"].partition("-")
        minutes = data["offset"] or 0
        return WantedStep(
            basis=data["basis"],
            minutes=-minutes if data["side"] == "before" else minutes,
            act=data["act"],
            whom=whom,
            person_id=int(key) if whom == "person" else None,
            group_id=int(key) if whom == "group" else None,
        )


class PlanForm(SentenceForm):
    """A review plan: its calendar, its targets by risk, and the steps of its ladder."""

    calendar = forms.ModelChoiceField(
        WorkCalendar.objects.order_by("name"),
        required=False,
        empty_label="All hours count",
        error_messages={"invalid_choice": "Choose one of the calendars."},
    )
    assigns_in_turn = forms.BooleanField(required=False)
    version = forms.IntegerField(
        min_value=0, error_messages={"required": "Load the page again."}
    )

    def __init__(
        self, data: Any, *, plan: ReviewPlan | None, people: Mapping[str, str]
    ) -> None:
        initial: dict[str, Any] = {}
        stored: list[LadderStep] = []
        if plan:
            initial = {
                "calendar": plan.calendar_id,
                "assigns_in_turn": plan.assigns_in_turn,
            }
            stored = list(plan.steps.all())
        super().__init__(data, initial=initial)
        for risk in RISKS:
            targets = plan.targets.get(risk) if plan else None
            for name, label, minutes in zip(
                _targets(risk), KINDS.values(), targets or (None, None), strict=True
            ):
                self.fields[name] = MinutesField(
                    label=label, required=False, initial=minutes or None
                )
        steps: list[LadderStep | None] = [*stored, *[None] * MAX_STEPS]
        # The choices of whom a step is for, such as "duty" or "person-3".
        whom = [
            (one.value, str(one.label).capitalize())
            for one in LadderStep.Whom
            if one.value not in ("person", "group")
        ]
        whom += [(f"group-{one.pk}", f"Group {one}") for one in Group.objects.all()]
        # Somebody who left stays a choice, so that an edit loses no step.
        left = {
            str(one.person_id): f"{one.person} (left)"
            for one in stored
            if one.person_id
        }
        everybody = left | dict(people)
        whom += [(f"person-{key}", name) for key, name in everybody.items()]
        self.steps = [
            StepForm(n, data, step, whom) for n, step in enumerate(steps[:MAX_STEPS], 1)
        ]

    def targets(self) -> list[tuple[str, list[forms.BoundField]]]:
        """Return for each risk its words and the fields of its two targets."""
        return [
            (words, [self[name] for name in _targets(risk)])
            for risk, words in RISKS.items()
        ]

    def clean(self) -> None:
        cleaned = self.cleaned_data
        cleaned["targets"] = {
            risk: [cleaned.get(name) for name in _targets(risk)] for risk in RISKS
        }
        cleaned["steps"] = []
        for step in self.steps:
            if not step["whom"].value():
                continue
            if step.is_valid():
                cleaned["steps"].append(step.wanted())
            else:
                self.add_error(None, f"Step {step.number}: {step.first_error()}")
        if not self.errors and not any(
            any(both) for both in cleaned["targets"].values()
        ):
            if cleaned["steps"]:
                self.add_error(
                    None,
                    "The steps need a target: set one for the first look or the decision.",
                )
            elif not cleaned["assigns_in_turn"]:
                self.add_error(None, "Set a target, or assign messages in turn.")

    def wanted(self) -> dict[str, Any]:
        """Return the arguments for `save_plan`."""
        names = ("calendar", "assigns_in_turn", "targets", "steps", "version")
        return {name: self.cleaned_data[name] for name in names}


def _targets(risk: str) -> list[str]:
    """Return the names of the two fields of a risk's targets."""
    return [f"{kind}-{risk or 'other'}" for kind in KINDS]


class DutyForm(SentenceForm):
    """A person to be on duty, for which mailbox and when."""

    person = forms.ChoiceField(error_messages=same_error("Choose a person."))
    mailbox = forms.ChoiceField(error_messages=same_error("Choose a mailbox."))
    calendar = forms.ModelChoiceField(
        WorkCalendar.objects.order_by("name"),
        required=False,
        error_messages={"invalid_choice": "Choose a calendar."},
    )

    def __init__(
        self, data: Any, *, people: Mapping[str, str], scopes: Mapping[str, str]
    ) -> None:
        super().__init__(data)
        self.fields["person"].choices = list(people.items())  # type: ignore[attr-defined]
        self.fields["mailbox"].choices = list(scopes.items())  # type: ignore[attr-defined]


def people_for(mailbox: Mailbox | None) -> dict[str, str]:
    """Return the active people that a plan can name, as choices: those who see the
    mailbox, or for the plan for all every reviewer.
    """
    people: Any = Person.objects.filter(
        is_active=True, grants__role=Role.REVIEWER
    ).distinct()
    if mailbox is not None:
        people = Person.objects.seeing(
            connection=mailbox.connection_id, mailbox=mailbox.pk
        )
    return choices_by_pk(people.order_by("name", "email", "pk"))
