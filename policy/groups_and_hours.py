"""The page Groups and hours: groups of people and calendars, which rules and review
plans name; and the form of one of either. The form of a review plan is shown and taken
in the same way.
"""

from datetime import date
from typing import Any, ClassVar

from django import forms
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from common.actors import Actor
from common.drawn_forms import DrawnForm
from common.errors import SentenceError
from common.pages import (
    DeskRequest,
    admin_or_403,
    answer,
    changes,
    first_or_404,
    redirect_with_notice,
    require_get_or_post,
)
from common.time_zones import zone_name, zone_named
from people.models import Person
from people.sign_in.reauthentication import ask_first, is_recently_authenticated
from policy.calendars import DAYS, MAX_LINE, NOTE, read_day, write_day
from policy.errors import PolicyError, StalePolicy, seen_state
from policy.models import Group, WorkCalendar
from policy.rules.changes import policies
from policy.rules.fields import ChecksField, EntriesField, ReadField
from policy.rules.groups import (
    delete_named,
    in_words,
    naming,
    save_calendar,
    save_group,
)

MAX_HOLIDAYS = 400


class SavedForm(DrawnForm):
    """A form that stores what was typed. `seen_field` has the state that the page showed:
    a change over somebody else's is refused.
    """

    seen_field: ClassVar[str] = "seen"

    def save(self, actor: Actor) -> str:
        """Store what was typed, and return a notice."""
        raise NotImplementedError


class SettingForm(SavedForm):
    """The form of a row that reads differently after each change."""

    seen = forms.CharField(required=False, max_length=16, widget=forms.HiddenInput)

    def __init__(self, data: Any, words: str) -> None:
        """`words`: how what is stored reads, empty if nothing is."""
        super().__init__(data, initial={"seen": seen_state(words)})


def people_choices(people: QuerySet[Person]) -> dict[str, str]:
    """Return people as choices for a form, by name."""
    choices = {}
    for one in people.order_by("name", "email"):
        choices[str(one.pk)] = str(one) if one.is_active else f"{one} (left)"
    return choices


def edit_setting(
    request: DeskRequest, form: SavedForm, to: str, **context: Any
) -> HttpResponse:
    """Show a form; save it if it is filled in, and show the notice at the URL named
    `to`.
    """
    error: SentenceError | None = None
    if form.is_valid():
        try:
            return redirect_with_notice(request, form.save(request.actor), to)
        except StalePolicy as stale:
            error = stale
            # It can be sent again, over what is stored now.
            form.show(form.seen_field, form.initial[form.seen_field])
        except PolicyError as refused:
            form.add_error(None, refused.sentence)
    return answer(
        request, "policy/edit.html", {"form": form, **context}, error, form=form
    )


class NamedForm(SettingForm):
    """What the forms of a group and of a calendar have in common."""

    model: ClassVar[type[Group | WorkCalendar]]
    # The URL name of the form of a stored one.
    page: ClassVar[str]

    name = forms.CharField(
        label="Name",
        max_length=60,
        error_messages={"required": "Give it a name."},
    )

    def __init__(self, data: Any, stored: Any) -> None:
        super().__init__(data, in_words(stored) if stored else "")
        self.stored = stored
        self.initial["name"] = stored or ""

    def clean_name(self) -> str:
        return " ".join(str(self.cleaned_data["name"]).split())


class GroupForm(NamedForm):
    """A group's name and its members."""

    model = Group
    page = "policy-group"
    layout = "| * Group | name members | It gives nobody a role: members approve only where they are reviewers."

    def __init__(self, data: Any, stored: Group | None) -> None:
        super().__init__(data, stored)
        members = stored.members.values_list("pk", flat=True) if stored else []
        # Members who have left the desk stay choices.
        possible = Person.objects.filter(Q(is_active=True) | Q(pk__in=members))
        people = people_choices(possible)
        field = ChecksField("Members", "people", int)
        field.choices = list(people.items())
        self.fields["members"] = field
        self.initial["members"] = members

    def save(self, actor: Actor) -> str:
        made = save_group(actor=actor, group=self.stored, **self.cleaned_data)
        return f"“{made}” is saved."


def _zone(typed: str) -> str:
    """Return the name of a time zone. Raises ValueError with a sentence."""
    zone = zone_named(typed)
    if zone is None:
        raise ValueError(
            "There is no such time zone. Choose one such as Europe/Lisbon."
        )
    return str(zone)


def _holiday(line: str) -> str:
    """Return a line of holidays in its one form. Raises ValueError with a sentence."""
    day, _, name = line.partition(" ")
    try:
        return f"{date.fromisoformat(day)} {name.strip()[:100]}".strip()
    except ValueError:
        raise ValueError(
            f"“{line[:40]}” does not begin with a date such as 2026-12-25."
        ) from None


class CalendarForm(NamedForm):
    """A calendar: each day's hours in one line, holidays one a line."""

    model = WorkCalendar
    page = "calendar"
    layout = f"""
| * Calendar | name zone |
| * Hours | day-* | {NOTE}
| * Holidays | holidays |
"""

    zone = ReadField(
        "Time zone",
        _zone,
        help_text="Such as Europe/Lisbon. Daylight saving is taken into account.",
        max_length=64,
    )
    holidays = EntriesField(
        "Holidays",
        _holiday,
        "One a line, such as 2026-12-25 Christmas Day.",
        most=MAX_HOLIDAYS,
    )

    def __init__(self, data: Any, stored: WorkCalendar | None) -> None:
        super().__init__(data, stored)
        row = stored or WorkCalendar(
            weekly=[[[540, 1020]]] * 5 + [[], []], zone=zone_name()
        )
        self.initial["zone"] = row.zone
        self.initial["holidays"] = frozenset(map(" ".join, row.holidays.items()))
        for number, day in enumerate(DAYS):
            self.fields[f"day-{number}"] = ReadField(
                day,
                read_day,
                max_length=MAX_LINE,
                initial=write_day(row.weekly[number]),
            )

    def clean_holidays(self) -> dict[str, str]:
        lines = self.cleaned_data["holidays"]
        return dict((*line.split(" ", 1), "")[:2] for line in lines)

    def clean(self) -> None:
        typed = self.cleaned_data
        typed["weekly"] = [typed.pop(f"day-{number}", []) for number in range(7)]
        if not any(typed["weekly"]) and not self.errors:
            self.add_error(
                "day-0", "A calendar needs working hours on at least one day."
            )

    def save(self, actor: Actor) -> str:
        made = save_calendar(actor=actor, calendar=self.stored, **self.cleaned_data)
        return f"“{made}” is saved."


def _overview(
    request: DeskRequest, *, error: SentenceError | None = None, **_: Any
) -> HttpResponse:
    """List the groups with their members and the calendars with their hours, and which
    rules name them.
    """
    parts = policies().parts

    def named_by(row: Group | WorkCalendar) -> list[str]:
        return list(dict.fromkeys(one.name for one in naming(row, parts)))

    context: dict[str, Any] = {"may_change": request.actor.is_admin_of_all}
    if request.actor.scopes:
        groups = Group.objects.prefetch_related("members").order_by("name")
        context["groups"] = [(one, named_by(one)) for one in groups]
        calendars = WorkCalendar.objects.order_by("name")
        context["calendars"] = [
            (one, zip(DAYS, map(write_day, one.weekly), strict=True), named_by(one))
            for one in calendars
        ]
    return answer(request, "policy/groups_and_hours.html", context, error)


groups_and_hours = require_safe(_overview)


@require_get_or_post
def edit(
    request: DeskRequest, form_class: type[NamedForm], row_id: int | None = None
) -> HttpResponse:
    """Show the form of a group or calendar, or of a new one. On POST, save it; to change
    one takes a recent sign-in, because it decides who has to approve, and when.
    """
    admin_or_403(request)
    stored = _row_or_404(form_class, row_id) if row_id else None
    form = form_class(request.POST if request.method == "POST" else None, stored)
    if stored and form.is_valid() and not is_recently_authenticated(request):
        return ask_first(request)
    return edit_setting(
        request,
        form,
        to="groups-and-hours",
        title=str(stored or f"New {form.model._meta.verbose_name}"),
        above=("Groups and hours", "groups-and-hours"),
        stored=stored,
        key=row_id,
        page=form.page,
    )


@require_POST
@changes(_overview, to="groups-and-hours")
def delete(request: DeskRequest, form_class: type[NamedForm], row_id: int) -> str:
    """Delete a group or calendar that nothing names."""
    actor = admin_or_403(request)
    row = _row_or_404(form_class, row_id)
    delete_named(actor=actor, row=row)
    return f"“{row}” is deleted."


def _row_or_404(form_class: type[NamedForm], row_id: int) -> Any:
    rows = form_class.model._default_manager.filter(pk=row_id)
    return first_or_404(rows, "Somebody deleted this meanwhile, or it never was.")
