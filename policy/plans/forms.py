"""What admins fill in about calendars, review plans and who is on duty."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from django import forms

from common.durations import read_minutes
from common.forms import SentenceForm, WordsField
from common.time_zones import zone_named
from policy.calendars.opening import DAY
from policy.calendars.weekly import MAX_LINE, read_day
from policy.models import Group, LadderStep, WorkCalendar
from policy.plans.commands import WantedCalendar, WantedPlan, WantedStep
from policy.plans.deadlines import RISKS

MAX_HOLIDAYS = 400
MAX_STEPS = 8
# Two weeks of all hours.
_LONGEST = 14 * DAY


class CalendarForm(SentenceForm):
    """A calendar: each day's hours in one line, holidays one a line."""

    name = forms.CharField(
        max_length=60,
        error_messages={"required": "Give it a name.", "max_length": "Keep the name under 60 characters."},
    )
    zone = forms.CharField(max_length=64, error_messages={"required": "Choose a time zone, such as Europe/Lisbon."})
    holidays = WordsField(
        required=False, max_length=40_000, error_messages={"max_length": f"At most {MAX_HOLIDAYS} holidays."}
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for number in range(7):
            self.fields[f"day-{number}"] = forms.CharField(required=False, max_length=MAX_LINE)

    def clean_zone(self) -> str:
        zone = zone_named(self.cleaned_data["zone"])
        if zone is None:
            raise forms.ValidationError("There is no such time zone. Choose one such as Europe/Lisbon.")
        return str(zone)

    def clean_holidays(self) -> dict[str, str]:
        found = {}
        for line in filter(None, map(str.strip, self.cleaned_data["holidays"].split("\n"))):
            day, _, name = line.partition(" ")
            try:
                found[date.fromisoformat(day).isoformat()] = name.strip()[:100]
            except ValueError:
                raise forms.ValidationError(f"“{line[:40]}” does not begin with a date such as 2026-12-25.") from None
        if len(found) > MAX_HOLIDAYS:
            raise forms.ValidationError(f"At most {MAX_HOLIDAYS} holidays.")
        return found

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        weekly = []
        for number in range(7):
            try:
                weekly.append([list(span) for span in read_day(cleaned.get(f"day-{number}") or "")])
            except ValueError as error:
                self.add_error(f"day-{number}", str(error))
                weekly.append([])
        if not any(weekly) and not self.errors:
            self.add_error("day-0", "A calendar needs working hours on at least one day.")
        cleaned["weekly"] = weekly
        return cleaned

    def wanted(self) -> WantedCalendar:
        """Return the calendar as it is to be."""
        return WantedCalendar(**{name: self.cleaned_data[name] for name in ("name", "zone", "weekly", "holidays")})


def _minutes(text: str) -> int:
    minutes = read_minutes(text)
    if minutes > _LONGEST:
        raise ValueError("At most 336 h.")
    return minutes


class PlanForm(SentenceForm):
    """A review plan: its calendar, its targets by risk, and the steps of its ladder; empty ones are left out."""

    calendar = forms.ModelChoiceField(
        WorkCalendar.objects.order_by("name"),
        required=False,
        error_messages={"invalid_choice": "Choose one of the calendars."},
    )
    assigns_in_turn = forms.BooleanField(required=False)
    version = forms.IntegerField(min_value=0, error_messages={"required": "Load the page again."})

    def __init__(self, data: Any, *, people: Mapping[str, str]) -> None:
        super().__init__(data)
        self.whom = whom_choices(people)
        # The names of the fields of durations that cannot be read.
        self.wrong: set[str] = set()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        cleaned["targets"] = {risk: [self._target(f"{kind}-{risk or 'other'}") for kind in KINDS] for risk in RISKS}
        cleaned["steps"] = [step for n in range(1, MAX_STEPS + 1) if (step := self._step(n)) is not None]
        if not self.errors and not any(any(both) for both in cleaned["targets"].values()):
            if cleaned["steps"]:
                self.add_error(None, "The steps need a target: set one for the first look or the decision.")
            elif not cleaned["assigns_in_turn"]:
                self.add_error(None, "Set a target, or assign messages in turn.")
        return cleaned

    def _target(self, name: str) -> int | None:
        typed = str(self.data.get(name, "")).strip()
        try:
            return _minutes(typed) or None if typed else None
        except ValueError as error:
            self.add_error(None, f"{typed[:20]}: {error}")
            self.wrong.add(name)
            return None

    def _step(self, number: int) -> WantedStep | None:
        typed = {name: str(self.data.get(f"{name}-{number}", "")).strip() for name in STEP_FIELDS}
        if not typed["whom"]:
            return None
        whom, _, key = typed["whom"].partition("-")
        known = typed["whom"] in self.whom
        choices = (typed["basis"] in LadderStep.Basis.values, typed["act"] in LadderStep.Act.values)
        if not known or not all(choices) or typed["side"] not in SIDES:
            self.add_error(None, f"Step {number}: choose from the lists.")
            return None
        if typed["act"] == LadderStep.Act.ASSIGN and whom in ("destinations", "holder"):
            self.add_error(None, f"Step {number}: a message can be assigned to people, not to {whom_words(whom)}.")
            return None
        try:
            minutes = _minutes(typed["offset"]) if typed["offset"] else 0
        except ValueError as error:
            self.add_error(None, f"Step {number}: {error}")
            self.wrong.add(f"offset-{number}")
            return None
        before = -1 if typed["side"] == "before" else 1
        named = {f"{whom}_id": int(key)} if key else {}
        return WantedStep(basis=typed["basis"], minutes=before * minutes, act=typed["act"], whom=whom, **named)

    def wanted(self) -> WantedPlan:
        """Return the plan as it is to be."""
        names = ("calendar", "assigns_in_turn", "targets", "steps", "version")
        return WantedPlan(**{name: self.cleaned_data[name] for name in names})


KINDS = ("look", "decision")
SIDES = ("before", "after")
STEP_FIELDS = ("offset", "side", "basis", "act", "whom")


def whom_words(whom: str) -> str:
    """Return whom a step is for, in words."""
    return str(LadderStep.Whom(whom).label)


def whom_choices(people: Mapping[str, str]) -> dict[str, str]:
    """Return whom a step can name, by what the form sends: `duty`, `person-3`."""
    fixed = {one.value: str(one.label).capitalize() for one in LadderStep.Whom if one.value not in ("person", "group")}
    groups = {f"group-{one.pk}": f"Group {one}" for one in Group.objects.all()}
    return fixed | groups | {f"person-{key}": name for key, name in people.items()}


class DutyForm(SentenceForm):
    """A person to be on duty, for which mailbox and when."""

    person = forms.ChoiceField(error_messages=dict.fromkeys(("required", "invalid_choice"), "Choose a person."))
    mailbox = forms.ChoiceField(error_messages=dict.fromkeys(("required", "invalid_choice"), "Choose a mailbox."))
    calendar = forms.ModelChoiceField(
        WorkCalendar.objects.order_by("name"), required=False, error_messages={"invalid_choice": "Choose a calendar."}
    )

    def __init__(self, data: Any, *, people: Mapping[str, str], scopes: Mapping[str, str]) -> None:
        super().__init__(data)
        self.fields["person"].choices = list(people.items())  # type: ignore[attr-defined]
        self.fields["mailbox"].choices = list(scopes.items())  # type: ignore[attr-defined]
