"""The page that lists the desk's reports, and the report of who had which role for what
at a moment. Readers see of it what is within their visible scope.

`people.models.GrantPeriod` stores from when until when each role was in force. Database
triggers have written it since the desk's first role.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django import forms
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from common.actors import Actor, Role
from common.pages import ChoicesForm, DeskRequest, DrawnForm
from common.time_zones import clock_error, here, local_time, zone_name
from people.exports import check_reads_people
from people.models import GrantPeriod, Person
from people.roles import GrantTarget, all_targets

# At most this many former targets can be chosen.
MAX_PLACES = 500
# Shown instead of a target's name to readers who may see only a part of the target.
_AROUND = "the whole connection"


@dataclass(frozen=True)
class Right:
    """A role that was in force, with the names of its person and target for a page."""

    period: GrantPeriod
    # The person's name.
    name: str
    # Whether the person's account still exists.
    is_here: bool
    # The target's name.
    place: str


def as_rights(actor: Actor, periods: Iterable[GrantPeriod]) -> list[Right]:
    """Return periods with the names to show: the person's of today, or the stored one
    if the account is deleted; and the target's, if the actor may see it.
    """
    rows = list(periods)
    people = Person.objects.in_bulk({row.person for row in rows})
    rights = []
    for row in rows:
        person = people.get(row.person)
        target_name = _AROUND
        if _is_named_to(actor, row.connection, row.mailbox):
            target_name = row.place
        name = str(person) if person else row.name or row.email
        rights.append(Right(row, name, person is not None, target_name))
    return rights


def named_targets(actor: Actor) -> dict[str, GrantTarget]:
    """Return the targets to choose from, by their value in the form: today's first,
    then those that are removed.
    """
    targets = {
        value: one
        for value, one in all_targets().items()
        if _is_named_to(actor, one.connection, one.mailbox)
    }
    periods = GrantPeriod.objects.read_by(actor).exclude(connection=None)
    former = periods.values_list("connection", "mailbox", "place").distinct()
    for connection, mailbox, name in former.order_by("place")[:MAX_PLACES]:
        if _is_named_to(actor, connection, mailbox):
            target = GrantTarget(connection, mailbox, f"{name} (removed)")
            targets.setdefault(target.value, target)
    return targets


def _is_named_to(actor: Actor, connection: int | None, mailbox: int | None) -> bool:
    """Whether the actor may see a target's name: it must be within their visible scope
    as admin or auditor.
    """
    if connection is None:
        return True
    scopes = actor.acting_as(Role.ADMIN, Role.AUDITOR).scopes
    return any(
        scope.reaches(connection=connection, mailbox=mailbox) for scope in scopes
    )


# Rows on a page.
MAX_ROWS = 500


class RightsForm(ChoicesForm, DrawnForm):
    """The moment, in the reader's time zone, the target and the person to report on.
    Without a valid moment the report is of now, without a valid target of all.
    """

    at = forms.DateTimeField(
        required=False,
        error_messages={
            "invalid": "Write date and time as 2026-11-20 09:30. The roles shown are those of now."
        },
        widget=forms.DateTimeInput({"type": "datetime-local", "step": 1}),
    )
    place = forms.ChoiceField(
        label="Where",
        required=False,
        error_messages={
            "invalid_choice": "There is no such scope that you may see. All scopes are shown."
        },
    )
    person = forms.IntegerField(required=False, min_value=1, max_value=2**62)

    def clean_at(self) -> datetime | None:
        # Django parses it as UTC, but it was typed in the reader's time zone.
        typed: datetime | None = self.cleaned_data["at"]
        if typed and (error := clock_error(here(typed))):
            raise forms.ValidationError(f"{error} The roles shown are those of now.")
        return here(typed) if typed else None

    def moment(self, now: datetime) -> datetime:
        """Return the requested moment; a future one becomes now."""
        self.is_valid()
        try:
            return min(self._wanted or now, now)
        except OverflowError:
            return now

    @property
    def asks_for_later(self) -> bool:
        """Whether the typed moment is in the future."""
        now = datetime.now(ZoneInfo(zone_name()))
        return self._wanted is not None and self._wanted > now

    @property
    def _wanted(self) -> datetime | None:
        return self.cleaned_data.get("at")

    @property
    def wanted_target(self) -> str:
        return str(self.cleaned_data.get("place") or "")


@require_safe
def reports(request: DeskRequest) -> HttpResponse:
    """List the desk's reports, and other pages with figures."""
    check_reads_people(request)
    return render(request, "people/reports.html")


@require_safe
def rights(request: DeskRequest) -> HttpResponse:
    """Show who had which role for what at a moment, or all roles that one person ever
    had.
    """
    check_reads_people(request)
    targets = named_targets(request.actor)
    choices = [(value, target.label) for value, target in targets.items()]
    form = RightsForm(request.GET, choices={"place": [("", "Everywhere"), *choices]})
    moment = form.moment(timezone.now())
    if person := form.cleaned_data.get("person"):
        # Of a person who may be deleted.
        periods = GrantPeriod.objects.read_by(request.actor).filter(person=person)
        rows = as_rights(request.actor, periods.order_by("since", "pk")[:MAX_ROWS])
        if not rows:
            raise Http404("There is no such person, or you may not see their roles.")
        context = {"rights": rows, "who": rows[-1], "is_cut": len(rows) == MAX_ROWS}
        return render(request, "people/report_person.html", context)
    in_force = GrantPeriod.objects.read_by(request.actor).in_force_at(moment)
    # Only roles that include the chosen target.
    if value := form.wanted_target:
        target = targets[value]
        in_force = in_force.reaching(
            connection=target.connection, mailbox=target.mailbox
        )
    in_force = in_force.order_by(
        "name", "email", "person", "connection", "mailbox", "role", "pk"
    )
    rows = as_rights(request.actor, in_force[:MAX_ROWS])
    if "at" not in form.errors:
        form.show("at", f"{local_time(moment):%Y-%m-%dT%H:%M:%S}")
    context = {
        "form": form,
        "at": moment,
        "place": form.wanted_target,
        "deciding": [one for one in rows if one.period.role == Role.REVIEWER],
        "others": [one for one in rows if one.period.role != Role.REVIEWER],
        "number": len(rows),
        "total": in_force.count() if len(rows) == MAX_ROWS else len(rows),
    }
    return render(request, "people/report_rights.html", context)
