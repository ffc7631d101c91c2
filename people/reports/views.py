"""The list of the desk's reports, and the report of who could decide where at a moment."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from audit.recording import record
from common.actors import Role
from common.csv_rows import csv_row
from common.pages import DeskRequest
from common.time_zones import there, zone_name
from people.reports.rights import (
    Right,
    as_rights,
    rights_at,
    target_keys,
    target_labels,
    timeline_of,
)

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

    def __init__(self, data: Any, *, target_choices: dict[str, str], zone: str) -> None:
        super().__init__(data)
        self.fields["place"].choices = [("", "Everywhere"), *target_choices.items()]  # type: ignore[attr-defined]
        self._zone = ZoneInfo(zone)

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
        shown, _ = as_rights(
            request.actor, timeline_of(request.actor, person)[:MAX_ROWS]
        )
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


def _asked(request: DeskRequest, data: QueryDict) -> tuple[RightsForm, datetime, Any]:
    """Return the form, the moment, and the matching periods."""
    form = RightsForm(
        data, target_choices=target_labels(request.actor), zone=zone_name()
    )
    at = form.moment(timezone.now())
    target = form.wanted_target
    keys = target_keys(target) if target else {}
    return form, at, rights_at(request.actor, at, everywhere=not target, **keys)


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
