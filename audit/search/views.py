"""The ledger for people: searched by any field, newest first, with what there is beside it."""

from dataclasses import dataclass
from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, JsonResponse
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from audit.search.filters import Filters
from audit.search.kinds import GROUPS, kind_label
from audit.search.results import (
    COUNTED,
    Count,
    Facets,
    Page,
    SearchTooLongError,
    facets_of,
    page_of,
    readable,
    within_time,
)
from audit.search.saved import searches_of
from common.pages import DeskRequest, page_or_fragment

# What the select for surfaces offers; others can be typed.
SURFACES = ("web", "discord", "webhook", "worker", "command")
# A facet shows so many values, and the others behind "more".
SHOWN = 6


@dataclass(frozen=True)
class Choice:
    """One value of a facet: what it is called, how many there are, and where it leads."""

    label: str
    number: int
    query: str
    is_on: bool


@login_required
@require_safe
def ledger(request: DeskRequest) -> HttpResponse:
    """Show what happened, newest first, a hundred entries a page."""
    filters = Filters.from_query(request.GET, zone_of(request))
    as_json = request.GET.get("format") == "json"
    try:
        with within_time():
            entries = readable(request.actor, filters)
            page = page_of(entries, filters)
            facets = None if as_json else facets_of(entries, filters, actor=request.actor)
    except SearchTooLongError:
        return _too_long(request, filters, as_json=as_json)
    if as_json:
        return JsonResponse(_for_scripts(page, filters))
    context = {**_frame(request, filters, facets), **_pages(page, filters), "lines": page.lines}
    answer = page_or_fragment(request, page="audit/ledger.html", fragment="audit/_ledger.html", context=context)
    # Fields that were left empty, and tokens that were typed, go into the address in its one spelling.
    answer["HX-Push-Url"] = f"{reverse('audit')}?{query}" if (query := filters.query()) else reverse("audit")
    return answer


def zone_of(request: DeskRequest) -> tzinfo:
    """Return the time zone of whoever asks; UTC where this machine does not know it."""
    try:
        return ZoneInfo(getattr(request.user, "time_zone", "") or "UTC")
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


def _for_scripts(page: Page, filters: Filters) -> dict[str, Any]:
    following = f"{reverse('audit')}?{filters.query(before=page.older)}&format=json" if page.older else ""
    return {
        "entries": [line.as_json() for line in page.lines],
        "next": following,
        "remarks": list(filters.remarks),
    }


def _too_long(request: DeskRequest, filters: Filters, *, as_json: bool) -> HttpResponse:
    if as_json:
        said = "This search takes too long. Narrow it by a time, a kind of act or a person."
        return JsonResponse({"error": said, "remarks": list(filters.remarks)}, status=422)
    context = {**_frame(request, filters, None), "took_too_long": True, "lines": []}
    return page_or_fragment(
        request, page="audit/ledger.html", fragment="audit/_ledger.html", context=context, status=422
    )


def _frame(request: DeskRequest, filters: Filters, facets: Facets | None) -> dict[str, Any]:
    """Return what stands around the entries: the form's values, chips, facets and saved searches."""
    named = _names(facets)
    first = filters.query(before=None, after=None)
    return {
        "filters": filters,
        "first_query": first,
        "facets": facets,
        "facet_groups": _facet_groups(filters, facets, named),
        "chips": _chips(filters, named),
        "kinds": _kinds_offered(filters),
        "surfaces": tuple(dict.fromkeys((*SURFACES, *filter(None, [filters.surface])))),
        "searches": searches_of(request.actor),
        "carried": [pair for pair in filters.pairs() if pair[0] in ("actor", "connection", "message", "trace")],
        "counted": COUNTED,
        "export_url": _export_url(first) if request.actor.looks_after_people else "",
        "now": timezone.now(),
    }


def _export_url(query: str) -> str:
    try:
        address = reverse("export")
    except NoReverseMatch:
        return ""
    return f"{address}?{query}" if query else address


def _pages(page: Page, filters: Filters) -> dict[str, Any]:
    return {
        "is_first_page": page.newer is None,
        "older_query": filters.query(before=page.older) if page.older else "",
        "newer_query": filters.query(after=page.newer) if page.newer else "",
    }


def _names(facets: Facets | None) -> dict[tuple[str, str], str]:
    """Return what people and connections are called, by what the newest entries say."""
    if facets is None:
        return {}
    named = {("actor", one.value): one.label for one in facets.actors}
    return {**named, **{("connection", one.value): one.label for one in facets.connections}}


def _label(name: str, value: str, named: dict[tuple[str, str], str]) -> str:
    if name == "action":
        return kind_label(value)
    if name in ("actor", "connection"):
        return named.get((name, value)) or value.replace("/", " ")
    return value


CHIPS = {
    "q": "Words",
    "to": "To",
    "by": "By",
    "action": "Act",
    "actor": "Who",
    "surface": "Through",
    "connection": "Connection",
    "message": "Message",
    "fingerprint": "Fingerprint",
    "trace": "Trace id",
    "since": "Since",
    "until": "Until",
    "on": "On",
}


def _chips(filters: Filters, named: dict[tuple[str, str], str]) -> list[tuple[str, str, str]]:
    """Return each filter that is on: what it is called, its value, and the address without it."""
    told = dict(filters.pairs())
    if told.get("since") and told.get("since") == told.get("until"):
        one = told.pop("until")
        del told["since"]
        told["on"] = one
    gone = {"on": ("since", "until")}
    return [
        (CHIPS[name], _label(name, value, named), filters.without(*gone.get(name, (name,))))
        for name, value in told.items()
    ]


def _facet_groups(
    filters: Filters, facets: Facets | None, named: dict[tuple[str, str], str]
) -> list[tuple[str, list[Choice], list[Choice]]]:
    """Return the facets, each with what it shows at once and what it shows on demand."""
    if facets is None:
        return []
    of = {
        "action": ("Kinds of act", facets.actions),
        "actor": ("Who", facets.actors),
        "surface": ("Through", facets.surfaces),
        "connection": ("Connection", facets.connections),
    }
    groups = []
    for name, (label, counts) in of.items():
        choices = [_choice(filters, name, one, named) for one in counts]
        if choices:
            groups.append((label, choices[:SHOWN], choices[SHOWN:]))
    return groups


def _choice(filters: Filters, name: str, one: Count, named: dict[tuple[str, str], str]) -> Choice:
    is_on = (name, one.value) in filters.pairs()
    value: Any = int(one.value) if name == "connection" else one.value
    query = filters.without(name) if is_on else filters.query(**{name: value})
    return Choice(_label(name, one.value, named), one.number, query, is_on)


def _kinds_offered(filters: Filters) -> list[tuple[str, str]]:
    """Return the groups of acts, and what is asked for where it is none of them."""
    offered = list(GROUPS.items())
    if filters.action and filters.action not in GROUPS:
        offered.append((filters.action, kind_label(filters.action)))
    return offered
