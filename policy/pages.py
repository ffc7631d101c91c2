"""The pages of groups, calendars and allowlists, which rules and review plans name. The
forms of rules and review plans are shown and saved in the same way.
"""

from datetime import UTC, date, datetime
from typing import Any, ClassVar

from django import forms
from django.core.paginator import Paginator
from django.forms.models import model_to_dict
from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from common.actors import Actor
from common.errors import SentenceError
from common.mail_addresses import read_pattern
from common.pages import (
    DeskRequest,
    DrawnForm,
    admin_or_403,
    answer,
    changes,
    cleaned,
    first_or_404,
    posted,
    redirect_with_notice,
    require_get_or_post,
)
from common.search_field import as_asked
from common.time_zones import clock_error, zone_name, zone_named
from people.models import Person
from people.roles import GrantTargetForm, targets_to_give
from people.sign_in.reauthentication import ask_first, is_recently_authenticated
from policy.calendars import DAYS, MAX_LINE, NOTE, read_day, write_day
from policy.errors import StalePolicy, seen_state
from policy.models import Allowlist, GateList, Group, WorkCalendar
from policy.rules.changes import (
    WantedEntry,
    add_allowlist,
    apply_change,
    delete_named,
    in_words,
    naming,
    policies,
    save_calendar,
    save_group,
)
from policy.rules.fields import EntriesField, ReadField

MAX_HOLIDAYS = 400


class SettingForm(DrawnForm):
    """A form that stores what was typed. `seen` is the state that the page showed: a
    change over somebody else's is refused.
    """

    seen = forms.CharField(required=False, max_length=16, widget=forms.HiddenInput)

    def __init__(self, data: Any, seen: str, **initial: Any) -> None:
        super().__init__(data, initial={"seen": seen, **initial})

    # Called if the form has a name.
    def clean_name(self) -> str:
        return " ".join(str(self.cleaned_data["name"]).split())

    def save(self, actor: Actor) -> str:
        """Store what was typed, and return a notice."""
        raise NotImplementedError


def edit_setting(
    request: DeskRequest,
    form: SettingForm,
    to: str,
    template: str = "policy/edit.html",
    error: SentenceError | None = None,
    *,
    is_guarded: bool = False,
    **context: Any,
) -> HttpResponse:
    """Show a page with a form; save it if it is filled in, and show the notice at the
    URL `to`. `is_guarded`: saving takes a recent sign-in.
    """
    if form.is_valid():
        if is_guarded and not is_recently_authenticated(request):
            return ask_first(request)
        try:
            return redirect_with_notice(request, form.save(request.actor), to)
        except SentenceError as refused:
            error = refused
            if isinstance(refused, StalePolicy):
                # It can be sent again, over what is stored now.
                form.show("seen", form.initial["seen"])
    return answer(request, template, {"form": form, **context}, error, form=form)


class NamedForm(SettingForm):
    """What the forms of a group and of a calendar have in common."""

    model: ClassVar[type[Group | WorkCalendar]]
    # The URL name of the form of a stored one.
    page: ClassVar[str]

    name = forms.CharField(max_length=60)

    def __init__(self, data: Any, row: Any) -> None:
        seen = seen_state(in_words(row) if row.pk else "")
        super().__init__(data, seen, **model_to_dict(row))
        self.row = row


def members_field() -> Any:
    """Return a field for people at this desk."""
    return forms.ModelMultipleChoiceField(
        Person.objects.filter(is_active=True).order_by("name", "email"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )


class GroupForm(NamedForm):
    """A group's name and its members."""

    model = Group
    page = "policy-group"
    layout = "| * Group | name members | It gives nobody a role: members approve only where they are reviewers."

    members = members_field()

    def __init__(self, data: Any, row: Group) -> None:
        super().__init__(data, row)
        members: Any = self.fields["members"]
        # Members who have left the desk stay choices.
        left = Person.objects.filter(policy_groups=row.pk or 0)
        members.queryset = (members.queryset | left).distinct()

    def save(self, actor: Actor) -> str:
        members = [one.pk for one in self.cleaned_data.pop("members")]
        made = save_group(
            actor=actor, group=self.row, members=members, **self.cleaned_data
        )
        return f"“{made}” is saved."


def _zone(typed: str) -> str:
    """Return the name of a time zone. Raises ValueError with a sentence."""
    zone = zone_named(typed)
    if zone is None:
        raise ValueError(
            "There is no such time zone. Choose one such as Europe/Lisbon."
        )
    return str(zone)


def _holiday(line: str) -> tuple[str, str]:
    """Return the day and name of a holiday. Raises ValueError with a sentence."""
    day, _, name = line.partition(" ")
    try:
        return str(date.fromisoformat(day)), name.strip()[:100]
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
        kind=dict,
    )

    def __init__(self, data: Any, row: WorkCalendar) -> None:
        if not row.pk:
            row.zone = zone_name()
            row.weekly = [[[540, 1020]]] * 5 + [[], []]
        super().__init__(data, row)
        self.initial["holidays"] = frozenset(map(" ".join, row.holidays.items()))
        for number, day in enumerate(DAYS):
            self.fields[f"day-{number}"] = ReadField(
                day,
                read_day,
                max_length=MAX_LINE,
                initial=write_day(row.weekly[number]),
            )

    def clean(self) -> None:
        typed = self.cleaned_data
        typed["weekly"] = [typed.pop(f"day-{number}", []) for number in range(7)]
        if not any(typed["weekly"]) and not self.errors:
            self.add_error(
                "day-0", "A calendar needs working hours on at least one day."
            )

    def save(self, actor: Actor) -> str:
        made = save_calendar(actor=actor, calendar=self.row, **self.cleaned_data)
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
    row = _row_or_404(form_class, row_id) if row_id else form_class.model()
    form = form_class(posted(request), row)
    return edit_setting(
        request,
        form,
        to="groups-and-hours",
        is_guarded=row_id is not None,
        title=row.name or f"New {row._meta.verbose_name}",
        above=("Groups and hours", "groups-and-hours"),
        stored=row_id,
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
    return first_or_404(rows, "This was deleted, or it never existed.")


# Rows of a page.
PAGE = 100
# Entries that can be added at a time.
MAX_LINES = 20_000
# A form may have at most one mebibyte.
MAX_CHARACTERS = 900_000
MAX_NOTE = 300


def read_line(line: str) -> WantedEntry:
    """Return the entry of a line. Raises ValueError with a sentence."""
    pattern, note, ends, *more = *map(str.strip, line.split(",")), "", ""
    if any(more):
        raise ValueError("It has more than a pattern, a note and an expiry.")
    if len(note) > MAX_NOTE:
        raise ValueError(f"The note is longer than {MAX_NOTE} characters.")
    return WantedEntry(read_pattern(pattern), note, _moment(ends))


def _moment(text: str) -> datetime | None:
    """Return when an entry ends, None for an empty text. A date means the end of that
    day. Without a zone it is the person's, in which the page shows it.
    """
    if not text:
        return None
    try:
        is_day = len(text) == len("2026-12-31")
        moment = datetime.fromisoformat(f"{text}T23:59:59" if is_day else text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone_named(zone_name()))
        error = clock_error(moment)
        ends = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text[:40]!a} is not a date or time such as 2026-12-31 or 2026-12-31T18:00."
        ) from None
    if error:
        raise ValueError(error)
    return ends


class ListForm(GrantTargetForm):
    """A new list: its name, and what it is for."""

    name = forms.CharField(max_length=60)
    field_order = ("name",)


class ChangeForm(SettingForm):
    """A change of a list: lines of entries to put there, or entries to remove."""

    lines = EntriesField(
        "Addresses and domains, one a line",
        read_line,
        "dana@x.example, x.example, or *.x.example for its subdomains alone. "
        "Then, if you like, a note and when it expires, a day or a time: x.example, The fair, 2026-12-31T18:00",
        most=MAX_LINES,
        kind=list,
        max_length=MAX_CHARACTERS,
        widget=forms.Textarea({"spellcheck": "false"}),
    )
    # The patterns of ticked entries; the request has the field once for each.
    remove = forms.Field(required=False, widget=forms.MultipleHiddenInput)

    def __init__(self, data: Any, stored: Allowlist) -> None:
        super().__init__(data, seen_state(in_words(stored)))
        self.stored = stored

    def clean_remove(self) -> list[str]:
        """Leave out what PostgreSQL could not look for, and no entry contains."""
        patterns = self.cleaned_data["remove"] or ()
        return [one for one in patterns if "\0" not in one]

    def save(self, actor: Actor) -> str:
        apply_change(
            allowlist=self.stored,
            put=self.cleaned_data["lines"],
            remove=self.cleaned_data["remove"],
            seen=self.cleaned_data["seen"],
            actor=actor,
        )
        return "Saved."


def _visible_or_404(request: DeskRequest, list_id: int) -> Allowlist:
    visible = Allowlist.objects.at_work().visible_to(request.actor)
    return first_or_404(
        visible.filter(pk=list_id), "There is no such list, or you may not see it."
    )


def _lists_page(
    request: DeskRequest, *, error: SentenceError | None = None
) -> HttpResponse:
    """Show the lists that the actor may see, what names them, and whether the gates have
    them.
    """
    actor = request.actor
    current = policies()
    rows = [
        (one, [part.name for part in naming(one, current.in_force.parts)])
        for one in Allowlist.objects.visible_to(actor).for_overview()
    ]
    targets = targets_to_give(actor)
    context = {
        "lists": rows,
        "form": targets and ListForm(request.POST or None, targets=targets),
        "gates": GateList.objects.for_page(actor)[:PAGE],
    }
    return answer(request, "policy/allowlists.html", context, error)


allowlists = require_safe(_lists_page)


@require_POST
@changes(_lists_page, to="allowlists")
def add_list(request: DeskRequest) -> HttpResponse:
    """Make an empty list, and show its page."""
    actor = request.actor
    wanted = cleaned(ListForm(request.POST, targets=targets_to_give(actor)))
    made = add_allowlist(actor=actor, name=wanted["name"], target=wanted["place"])
    return redirect_with_notice(request, "The list is made.", made.url)


def _list_page(
    request: DeskRequest,
    list_id: int,
    *,
    error: SentenceError | None = None,
    typed: Any = None,
) -> HttpResponse:
    """Show one list and its entries, a page at a time; save the change if one was
    `typed`.
    """
    at = _visible_or_404(request, list_id)
    q = as_asked(request.GET.get("q"))
    found = at.entries.found_by(q).select_related("added_by")
    current = policies()
    return edit_setting(
        request,
        ChangeForm(typed, at),
        at.url,
        "policy/allowlist.html",
        error,
        is_guarded=True,
        at=at,
        may_change=at.is_changed_by(request.actor),
        named_by=naming(at, current.in_force.parts),
        named_in_draft=naming(at, current.drafted.parts),
        page=Paginator(found.order_by("pattern"), PAGE).get_page(
            request.GET.get("page")
        ),
        q=q,
    )


allowlist = require_safe(_list_page)


@require_POST
@changes(_list_page, to="allowlists")
def delete_list(request: DeskRequest, list_id: int) -> str:
    """Delete a list that nothing names."""
    at = _visible_or_404(request, list_id)
    delete_named(row=at, actor=request.actor)
    return f"The list “{at}” is deleted."


@require_POST
def change_list(request: DeskRequest, list_id: int) -> HttpResponse:
    """Change the entries of a list; this takes a recent sign-in."""
    return _list_page(request, list_id, typed=request.POST)
