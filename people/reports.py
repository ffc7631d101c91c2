"""The list of the desk's reports, and the report of who had which role where at a
moment, within the reader's visible scope.

`people.models.GrantPeriod` has the periods of each role, as old as the desk, because
triggers write them from its first role on. The ledger shows what else prevented
somebody from deciding: a role that needed a second factor, and no factor.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from audit.models import Entry
from audit.recording import record
from audit.trail import lines
from common.actors import Actor, Role
from common.csv_rows import csv_row
from common.pages import DeskRequest
from common.time_zones import there, zone_name
from people.models import GrantPeriod, Person
from people.roles import GrantTarget, all_targets

MAX_PLACES = 500
# The name of a target for readers who may see only a part of it.
_AROUND = "the whole connection"
# The limit of changes of rules and factors that are read; a desk has a few a year.
_MAX_READ = 5_000


@dataclass(frozen=True)
class Right:
    """A role that was in force: its person, target, and what prevented its use."""

    period: GrantPeriod
    name: str
    is_here: bool
    place: str
    hindrance: str = ""

    @property
    def words(self) -> str:
        return f"{self.period.role} of {self.place}"


@dataclass(frozen=True)
class SecondFactorRules:
    """Which roles needed a second factor at a moment, and whether that is still known."""

    strict: tuple[str, ...] = ()
    is_known: bool = True


def as_rights(
    actor: Actor, periods: Iterable[GrantPeriod], *, at: datetime | None = None
) -> tuple[list[Right], SecondFactorRules]:
    """Return periods with today's names, and with what prevented the use of each at
    `at`.
    """
    rows = list(periods)
    known = Person.objects.in_bulk({row.person for row in rows})
    rules, hindered = _hindered(rows, at) if at else (SecondFactorRules(), {})
    rights = []
    for row in rows:
        person = known.get(row.person)
        target = _AROUND
        if _is_named_to(actor, row.connection, row.mailbox):
            target = row.place
        name = str(person) if person else row.name or row.email
        hindrance = hindered.get(row.person, "")
        rights.append(Right(row, name, person is not None, target, hindrance))
    return rights, rules


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


def _hindered(
    rows: Sequence[GrantPeriod], at: datetime
) -> tuple[SecondFactorRules, dict[int, str]]:
    """Return which roles needed a second factor then, and which of these people lacked
    one.
    """
    rules = _strict_at(at)
    # If one role of a person needed a second factor, none of their roles could be used
    # without one.
    strict = GrantPeriod.objects.in_force_at(at).filter(
        person__in={row.person for row in rows}, role__in=rules.strict
    )
    asked = dict(strict.values_list("person", "email")) if rules.strict else {}
    if not asked:
        return rules, {}
    added = Entry.objects.of_action("person.factor_added").filter(
        at__lte=at, actor_kind="person", actor_id__in=[str(one) for one in asked]
    )
    factors = Counter(int(key) for key in added.values_list("actor_id", flat=True))
    by_email = {email: person for person, email in asked.items()}
    for details in _details_until(at, "person.factor_removed"):
        if "of" not in details:
            return rules, dict.fromkeys(
                asked,
                "The role needed a second factor; whether they had one is no longer known",
            )
        factors[by_email.get(details["of"], 0)] -= 1
    lacking = [person for person in asked if factors[person] <= 0]
    return rules, dict.fromkeys(
        lacking, "Had no second factor, which the role needed: could not act"
    )


def _strict_at(at: datetime) -> SecondFactorRules:
    """Return the roles that needed a second factor at that moment, by the ledger."""
    is_known = True
    found: dict[str, bool] = {}
    for details in _details_until(at, "role.second_factor_set"):
        if not details.get("role"):
            # Its details were redacted: the new rule is not known, and it overrides
            # earlier changes.
            is_known = False
            break
        found.setdefault(details["role"], details.get("needed") == "yes")
    strict = sorted(role for role, is_needed in found.items() if is_needed)
    return SecondFactorRules(tuple(strict), is_known)


def _details_until(at: datetime, action: str) -> Iterator[Mapping[str, str]]:
    """Return the details of the entries of an action until a moment, newest first."""
    entries = Entry.objects.of_action(action).filter(at__lte=at).newest_first()
    return (line.details for line in lines(entries[:_MAX_READ]))


# Rows on a page; the CSV file has all.
MAX_ROWS = 500
_COLUMNS = (
    "name",
    "email",
    "role",
    "place",
    "since_utc",
    "until_utc",
    "began",
    "ended",
    "role_number",
    "hindrance",
)


class RightsForm(forms.Form):
    """A moment in the reader's time zone, and a target. Invalid input means now and
    everywhere.
    """

    at = forms.DateTimeField(
        required=False,
        input_formats=[
            "%Y-%m-%dT%H:%M:%S",
            "%Y-%m-%dT%H:%M",
            "%Y-%m-%d %H:%M:%S",
            "%Y-%m-%d %H:%M",
            "%Y-%m-%d",
        ],
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

    def __init__(self, data: Any, *, targets: Mapping[str, GrantTarget]) -> None:
        super().__init__(data)
        choices = [(value, target.label) for value, target in targets.items()]
        self.fields["place"].choices = [("", "Everywhere"), *choices]  # type: ignore[attr-defined]
        self._zone = ZoneInfo(zone_name())

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
        return self._wanted is not None and self._wanted > datetime.now(self._zone)

    @property
    def _wanted(self) -> datetime | None:
        # The form parses it as UTC, but it was typed in the reader's time zone.
        wanted: datetime | None = self.cleaned_data.get("at")
        return wanted.replace(tzinfo=self._zone) if wanted else None

    @property
    def wanted_target(self) -> str:
        return str(self.cleaned_data.get("place") or "")

    @property
    def problems(self) -> list[str]:
        """The errors, as sentences."""
        return [
            str(sentence)
            for name in ("at", "place")
            for sentence in self.errors.get(name, ())
        ]


@require_safe
def reports(request: DeskRequest) -> HttpResponse:
    """List the desk's reports, and other pages with figures."""
    _check(request)
    return render(request, "people/reports.html")


@require_safe
def rights(request: DeskRequest) -> HttpResponse:
    """Show who had which role where at a moment, or all roles that one person ever had."""
    _check(request)
    form, at, found = _asked(request, request.GET)
    if person := form.cleaned_data.get("person"):
        periods = GrantPeriod.objects.read_by(request.actor).of_person(person)
        shown, _ = as_rights(request.actor, periods.oldest_first()[:MAX_ROWS])
        if not shown:
            raise Http404("There is no such person, or you may not see their roles.")
        context = {"rights": shown, "who": shown[-1], "is_cut": len(shown) == MAX_ROWS}
        return render(request, "people/report_person.html", context)
    shown, rules = as_rights(request.actor, found[:MAX_ROWS], at=at)
    context = {
        "form": form,
        "at": at,
        "at_value": f"{there(at):%Y-%m-%dT%H:%M:%S}",
        "place": form.wanted_target,
        "deciding": [one for one in shown if one.period.role == Role.REVIEWER],
        "others": [one for one in shown if one.period.role != Role.REVIEWER],
        "number": len(shown),
        "total": found.count() if len(shown) == MAX_ROWS else len(shown),
        "told": rules,
    }
    return render(request, "people/report_rights.html", context)


@require_POST
def rights_file(request: DeskRequest) -> HttpResponse | StreamingHttpResponse:
    """Download the report as CSV; the download is recorded in the ledger."""
    _check(request)
    form, at, found = _asked(request, request.POST)
    shown, _ = as_rights(request.actor, found, at=at)
    with transaction.atomic():
        label = dict(form.fields["place"].choices).get(form.wanted_target, "")  # type: ignore[attr-defined]
        details = {
            "report": "who could decide where",
            "as of": _iso(at),
            "place": label,
            "rows": str(len(shown)),
        }
        record("ledger.report_taken", actor=request.actor, details=details)
    name = f"rights-{at.astimezone(UTC):%Y-%m-%dT%H%M%SZ}.csv"
    return StreamingHttpResponse(
        (csv_row(cells) for cells in (_COLUMNS, *(_cells(one) for one in shown))),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _check(request: DeskRequest) -> None:
    if not request.actor.looks_after_people:
        raise PermissionDenied


def _asked(
    request: DeskRequest, data: QueryDict
) -> tuple[RightsForm, datetime, QuerySet[GrantPeriod]]:
    """Return the form, the moment, and the matching periods: those in force then of all
    targets, or of those that include one, by person.
    """
    targets = named_targets(request.actor)
    form = RightsForm(data, targets=targets)
    at = form.moment(timezone.now())
    found = GrantPeriod.objects.read_by(request.actor).in_force_at(at)
    if value := form.wanted_target:
        target = targets[value]
        found = found.reaching(connection=target.connection, mailbox=target.mailbox)
    return form, at, found.by_person()


def _cells(right: Right) -> tuple[str, ...]:
    row = right.period
    return (
        right.name,
        row.email,
        row.role,
        right.place,
        _iso(row.since),
        _iso(row.until) if row.until else "",
        row.get_began_display(),
        row.get_ended_display(),
        str(row.grant),
        right.hindrance,
    )


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()
