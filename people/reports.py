"""The list of the desk's reports, and the report of who had which role where at a
moment, within the reader's visible scope.

`people.models.GrantPeriod` has the periods of each role, as old as the desk, because
triggers write them from its first role on.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django import forms
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from common.actors import Actor, Role
from common.pages import ChoicesForm, DeskRequest
from common.time_zones import local_time, zone_name
from people.exports import check_reads_people
from people.models import GrantPeriod, Person
from people.roles import GrantTarget, all_targets

MAX_PLACES = 500
# The name of a target for readers who may see only a part of it.
_AROUND = "the whole connection"


@dataclass(frozen=True)
class Right:
    """A role that was in force, with its person and target."""

    period: GrantPeriod
    name: str
    is_here: bool
    place: str


def as_rights(actor: Actor, periods: Iterable[GrantPeriod]) -> list[Right]:
    """Return periods with today's names."""
    rows = list(periods)
    known = Person.objects.in_bulk({row.person for row in rows})
    rights = []
    for row in rows:
        person = known.get(row.person)
        target = _AROUND
        if _is_named_to(actor, row.connection, row.mailbox):
            target = row.place
        name = str(person) if person else row.name or row.email
        rights.append(Right(row, name, person is not None, target))
    return rights


def named_targets(actor: Actor) -> dict[str, GrantTarget]:
    """Return the targets to choose from, by value: today's first, then former ones."""
    named = {
        value: one
        for value, one in all_targets().items()
        if _is_named_to(actor, one.connection, one.mailbox)
    }
    periods = GrantPeriod.objects.read_by(actor).exclude(connection=None)
    former = periods.values_list("connection", "mailbox", "place").distinct()
    for connection, mailbox, name in former.order_by("place")[:MAX_PLACES]:
        if _is_named_to(actor, connection, mailbox):
            target = GrantTarget(connection, mailbox, f"{name} (removed)")
            named.setdefault(target.value, target)
    return named


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


class RightsForm(ChoicesForm):
    """A moment in the reader's time zone, and a target. Invalid input means now and
    everywhere.
    """

    at = forms.DateTimeField(
        required=False,
        error_messages={
            "invalid": "Write date and time as 2026-11-20 09:30. The roles shown are those of now."
        },
    )
    place = forms.ChoiceField(
        required=False,
        error_messages={
            "invalid_choice": "There is no such scope that you may see. All scopes are shown."
        },
    )
    person = forms.IntegerField(required=False, min_value=1, max_value=2**62)

    @property
    def zone(self) -> ZoneInfo:
        """The reader's time zone."""
        return ZoneInfo(zone_name())

    def moment(self, now: datetime) -> datetime:
        """Return the requested moment; a future one becomes now."""
        self.is_valid()
        try:
            return min(self._wanted or now, now)
        except OverflowError:
            return now

    @property
    def asks_for_later(self) -> bool:
        """Whether the requested moment is in the future."""
        return self._wanted is not None and self._wanted > datetime.now(self.zone)

    @property
    def _wanted(self) -> datetime | None:
        # The form parses it as UTC, but it was typed in the reader's time zone.
        wanted: datetime | None = self.cleaned_data.get("at")
        return wanted.replace(tzinfo=self.zone) if wanted else None

    @property
    def wanted_target(self) -> str:
        return str(self.cleaned_data.get("place") or "")

    @property
    def problems(self) -> list[str]:
        """The errors, as sentences."""
        wrong = self.errors_by_field()
        return [wrong[name] for name in ("at", "place") if name in wrong]


@require_safe
def reports(request: DeskRequest) -> HttpResponse:
    """List the desk's reports, and other pages with figures."""
    check_reads_people(request)
    return render(request, "people/reports.html")


@require_safe
def rights(request: DeskRequest) -> HttpResponse:
    """Show who had which role where at a moment, or all roles that one person ever had."""
    check_reads_people(request)
    form, at, found = _asked(request)
    if person := form.cleaned_data.get("person"):
        periods = GrantPeriod.objects.read_by(request.actor).of_person(person)
        shown = as_rights(request.actor, periods.oldest_first()[:MAX_ROWS])
        if not shown:
            raise Http404("There is no such person, or you may not see their roles.")
        context = {"rights": shown, "who": shown[-1], "is_cut": len(shown) == MAX_ROWS}
        return render(request, "people/report_person.html", context)
    shown = as_rights(request.actor, found[:MAX_ROWS])
    context = {
        "form": form,
        "at": at,
        "at_value": f"{local_time(at):%Y-%m-%dT%H:%M:%S}",
        "place": form.wanted_target,
        "deciding": [one for one in shown if one.period.role == Role.REVIEWER],
        "others": [one for one in shown if one.period.role != Role.REVIEWER],
        "number": len(shown),
        "total": found.count() if len(shown) == MAX_ROWS else len(shown),
    }
    return render(request, "people/report_rights.html", context)


def _asked(
    request: DeskRequest,
) -> tuple[RightsForm, datetime, QuerySet[GrantPeriod]]:
    """Return the form, the moment, and the matching periods: those in force then of all
    targets, or of those that include one, by person.
    """
    targets = named_targets(request.actor)
    choices = [(value, target.label) for value, target in targets.items()]
    form = RightsForm(request.GET, choices={"place": [("", "Everywhere"), *choices]})
    at = form.moment(timezone.now())
    found = GrantPeriod.objects.read_by(request.actor).in_force_at(at)
    if value := form.wanted_target:
        target = targets[value]
        found = found.reaching(connection=target.connection, mailbox=target.mailbox)
    return form, at, found.by_person()
