"""The page Groups and hours: groups of people and calendars, which rules and review
plans name; and the form of one of either.
"""

from collections.abc import Iterable
from datetime import date
from typing import Any, ClassVar

from django import forms
from django.db.models import Model
from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from common.actors import Actor
from common.drawn_forms import DrawnForm
from common.errors import SentenceError
from common.pages import (
    DeskRequest,
    MultilineField,
    admin_or_403,
    answer,
    changes,
    choices_by_pk,
    first_or_404,
    redirect_with_notice,
    require_get_or_post,
)
from common.time_zones import zone_name, zone_named
from people.models import Person
from people.sign_in.reauthentication import ask_first, is_recently_authenticated
from policy.calendars import DAYS, MAX_LINE, NOTE, read_day, write_day
from policy.errors import PolicyError, StalePlan, StalePolicy
from policy.models import Group, WorkCalendar
from policy.plans import commands as calendars
from policy.rules import groups
from policy.rules.changes import policies
from policy.rules.fields import ChecksField
from policy.rules.rules import PolicyRule

MAX_HOLIDAYS = 400


class NamedForm(DrawnForm):
    """What the forms of a group and of a calendar have in common. `seen` is the state
    that the page showed, by which a change over somebody else's is refused.
    """

    model: ClassVar[type[Model]]
    # The title of a new one, and the URL name of the form of a stored one.
    new: ClassVar[str]
    page: ClassVar[str]

    name = forms.CharField(
        label="Name",
        max_length=60,
        error_messages={"required": "Give it a name."},
    )
    seen = forms.CharField(required=False, max_length=16, widget=forms.HiddenInput)

    def __init__(self, data: Any, stored: Any) -> None:
        self.stored = stored
        super().__init__(data, initial={"seen": self.state()})

    def clean_name(self) -> str:
        return " ".join(str(self.cleaned_data["name"]).split())

    def state(self) -> str:
        """Return the present state of what is stored, as `seen` has it."""
        raise NotImplementedError

    def save(self, actor: Actor) -> None:
        """Store what was typed."""
        raise NotImplementedError

    def delete(self, actor: Actor) -> None:
        """Delete what is stored, unless something names it."""
        raise NotImplementedError


class GroupForm(NamedForm):
    """A group's name and its members."""

    model = Group
    new = "New group"
    page = "policy-group"
    layout = "| * Group | name members | It gives nobody a role: members approve only where they are reviewers."

    def __init__(self, data: Any, stored: Group | None) -> None:
        super().__init__(data, stored)
        active = Person.objects.filter(is_active=True).order_by("name", "email")
        people = choices_by_pk(active)
        if stored:
            members = stored.members.all()
            self.initial["name"] = stored.name
            self.initial["members"] = [one.pk for one in members]
            # Members who have left the desk stay choices.
            for one in members:
                people.setdefault(str(one.pk), f"{one} (left)")
        field = ChecksField("Members", "people", int)
        field.choices = list(people.items())
        self.fields["members"] = field

    def state(self) -> str:
        return groups.seen_state(self.stored) if self.stored else ""

    def save(self, actor: Actor) -> None:
        typed = self.cleaned_data
        if self.stored:
            groups.change_group(actor=actor, group_id=self.stored.pk, **typed)
        else:
            groups.add_group(actor=actor, name=typed["name"], members=typed["members"])

    def delete(self, actor: Actor) -> None:
        groups.delete_group(actor=actor, group_id=self.stored.pk)


class HoursField(forms.CharField):
    """The hours of one day in one line, as pairs of minutes since midnight."""

    def __init__(self, **more: Any) -> None:
        super().__init__(required=False, max_length=MAX_LINE, **more)

    def clean(self, value: Any) -> list[tuple[int, int]]:
        try:
            return read_day(super().clean(value))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None


class CalendarForm(NamedForm):
    """A calendar: each day's hours in one line, holidays one a line."""

    model = WorkCalendar
    new = "New calendar"
    page = "calendar"
    layout = f"""
| * Calendar | name zone |
| * Hours | day-* | {NOTE}
| * Holidays | holidays |
"""

    zone = forms.CharField(
        label="Time zone",
        help_text="Such as Europe/Lisbon. Daylight saving is taken into account.",
        max_length=64,
        error_messages={"required": "Choose a time zone, such as Europe/Lisbon."},
    )
    holidays = MultilineField(
        label="Holidays",
        help_text="One a line, such as 2026-12-25 Christmas Day.",
        required=False,
        max_length=40_000,
        widget=forms.Textarea({"rows": 8}),
    )

    def __init__(self, data: Any, stored: WorkCalendar | None) -> None:
        super().__init__(data, stored)
        row = stored or WorkCalendar(
            weekly=[[[540, 1020]]] * 5 + [[], []], zone=zone_name()
        )
        holidays = (
            f"{day} {name}".strip() for day, name in sorted(row.holidays.items())
        )
        self.initial.update(name=row.name, zone=row.zone, holidays="\n".join(holidays))
        for number, day in enumerate(DAYS):
            hours = write_day(row.weekly[number])
            self.fields[f"day-{number}"] = HoursField(label=day, initial=hours)

    def clean_zone(self) -> str:
        zone = zone_named(self.cleaned_data["zone"])
        if zone is None:
            raise forms.ValidationError(
                "There is no such time zone. Choose one such as Europe/Lisbon."
            )
        return str(zone)

    def clean_holidays(self) -> dict[str, str]:
        holidays = {}
        lines = map(str.strip, self.cleaned_data["holidays"].split("\n"))
        for line in filter(None, lines):
            day, _, name = line.partition(" ")
            try:
                holidays[date.fromisoformat(day).isoformat()] = name.strip()[:100]
            except ValueError:
                raise forms.ValidationError(
                    f"“{line[:40]}” does not begin with a date such as 2026-12-25."
                ) from None
        if len(holidays) > MAX_HOLIDAYS:
            raise forms.ValidationError(f"At most {MAX_HOLIDAYS} holidays.")
        return holidays

    def clean(self) -> None:
        typed = self.cleaned_data
        typed["weekly"] = [typed.pop(f"day-{number}", []) for number in range(7)]
        if not any(typed["weekly"]) and not self.errors:
            self.add_error(
                "day-0", "A calendar needs working hours on at least one day."
            )

    def state(self) -> str:
        return calendars.seen_calendar(self.stored) if self.stored else ""

    def save(self, actor: Actor) -> None:
        calendars.save_calendar(actor=actor, calendar=self.stored, **self.cleaned_data)

    def delete(self, actor: Actor) -> None:
        calendars.remove_calendar(actor=actor, calendar=self.stored)


def _overview(
    request: DeskRequest, *, error: SentenceError | None = None, **_: Any
) -> HttpResponse:
    """List the groups with their members and the calendars with their hours, and which
    rules name them.
    """
    now = policies()
    rules = (*now.active_rules, *now.draft_rules)
    context: dict[str, Any] = {"may_change": request.actor.is_admin_of_all}
    if request.actor.scopes:
        context["groups"] = [
            (one, one.members.all(), _names(groups.rules_naming(one.pk, rules)))
            for one in Group.objects.prefetch_related("members").order_by("name")
        ]
        context["calendars"] = [
            (
                one,
                [
                    (day, write_day(hours))
                    for day, hours in zip(DAYS, one.weekly, strict=True)
                ],
                _names(rule for rule in rules if one.pk in rule.then.office_hours),
            )
            for one in WorkCalendar.objects.order_by("name")
        ]
    return answer(request, "policy/groups_and_hours.html", context, error)


def _names(rules: Iterable[PolicyRule]) -> list[str]:
    return list(dict.fromkeys(rule.name for rule in rules))


groups_and_hours = require_safe(_overview)


@require_get_or_post
def edit(
    request: DeskRequest, form_class: type[NamedForm], row_id: int | None = None
) -> HttpResponse:
    """Show the form of a group or calendar, or of a new one. On POST, save it; to change
    one takes a recent sign-in, because it decides who has to approve, and when.
    """
    actor = admin_or_403(request)
    stored = _row_or_404(form_class, row_id) if row_id else None
    form = form_class(request.POST if request.method == "POST" else None, stored)
    error: SentenceError | None = None
    if form.is_valid():
        if stored and not is_recently_authenticated(request):
            return ask_first(request)
        try:
            form.save(actor)
        except (StalePolicy, StalePlan) as stale:
            error = stale
            # It can be sent again, over what is stored now.
            form.show("seen", form.state())
        except PolicyError as refused:
            form.add_error("name", refused.sentence)
        else:
            notice = f"“{form.cleaned_data['name']}” is saved."
            return redirect_with_notice(request, notice, "groups-and-hours")
    context = {
        "form": form,
        "title": str(stored) if stored else form.new,
        "above": ("Groups and hours", "groups-and-hours"),
        "stored": stored,
        "page": form.page,
    }
    return answer(request, "policy/edit.html", context, error, form=form)


@require_POST
@changes(_overview, to="groups-and-hours")
def delete(request: DeskRequest, form_class: type[NamedForm], row_id: int) -> str:
    """Delete a group or calendar that nothing names."""
    actor = admin_or_403(request)
    row = _row_or_404(form_class, row_id)
    form_class(None, row).delete(actor)
    return f"“{row}” is deleted."


def _row_or_404(form_class: type[NamedForm], row_id: int) -> Model:
    rows = form_class.model._default_manager.filter(pk=row_id)
    return first_or_404(rows, "Somebody deleted this meanwhile, or it never was.")
