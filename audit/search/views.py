"""The page of the ledger: entries that match a search, newest first, next to counts by
which it can be narrowed (facets). Also saves and deletes searches.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from django.http import HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from audit.models import SavedSearch
from audit.search import saved
from audit.search.filters import GROUPS, NARROWING, SURFACES, Filters, kind_label
from audit.search.results import (
    COUNTED,
    Count,
    SearchTooLongError,
    decisions_of,
    facets_of,
    hidden_by_filters,
    page_of,
    readable,
    shown_of,
    within_time,
)
from common.pages import DeskRequest, FiltersForm, page_or_fragment
from common.time_zones import zone_name

# How many values of a facet are shown at once; the others are behind "more".
SHOWN = 6
# The fields of the search form beside its words (`FiltersForm`).
_FIELDS = """
action | Action |
by | By | person, or who started it
to | To | name, address or domain
surface | Source |
since | Since | 2026-11-21, today, last 7 days
until | Until | 2026-11, yesterday
fingerprint | Fingerprint | 7F3A-19C2-K0QD
"""
# The filters for which the search form has fields.
_IN_FORM: dict[str, Any] = dict.fromkeys(
    "text to by action surface fingerprint since until".split(), ""
)


@dataclass(frozen=True)
class Choice:
    """One value of a facet: its label, its count, and the query string that narrows the
    search to it, or if it `is_on` ends that.
    """

    label: str
    number: int
    query: str
    is_on: bool


@require_safe
def ledger(request: DeskRequest) -> HttpResponse:
    """Show a page of entries, newest first, as HTML or JSON. The HTML page shows
    technical entries only if they are asked for.
    """
    filters = Filters.from_query(request.GET, zone_name())
    if request.GET.get("format") == "json":
        return _as_json(request, filters)
    facets = None
    context: dict[str, Any] = {"took_too_long": True, "lines": []}
    status = 422
    with suppress(SearchTooLongError), within_time():
        entries = readable(request.actor, filters)
        page = page_of(shown_of(entries, filters), filters)
        facets = facets_of(entries, filters, actor=request.actor)
        is_first = not (filters.before or filters.after)
        decisions = []
        if is_first and (
            filters.searches or filters.fingerprint or filters.message or filters.trace
        ):
            decisions = decisions_of(page, entries, actor=request.actor)
        hidden = 0
        if is_first and facets and not facets.total and not facets.folded:
            hidden = hidden_by_filters(request.actor, filters)
        words = Filters(text=filters.text, to=filters.to, by=filters.by, technical=True)
        status = 200
        context = {
            "facets": facets,
            "lines": [line for line in page.lines if line not in decisions],
            "decisions": decisions,
            "hidden": f"{COUNTED:,}+" if hidden > COUNTED else hidden,
            "words_query": words.query(),
            "is_first_page": page.newer is None,
            "older_query": filters.query(before=page.older) if page.older else "",
            "newer_query": filters.query(after=page.newer) if page.newer else "",
        }
    counts = facets.counts if facets and status == 200 else {}
    kinds = dict(GROUPS)
    if filters.action:
        kinds[filters.action] = kind_label(filters.action)
    export_url = ""
    if request.actor.looks_after_people:
        export_url = _address(filters.query(technical=False), "export")
    context |= {
        "filters": filters,
        "first_query": filters.query(before=None, after=None),
        "facet_groups": _facet_groups(filters, counts),
        "chips": _chips(filters, counts),
        "filter_form": FiltersForm(
            vars(filters),
            table=_FIELDS,
            sender="search",
            action=kinds,
            surface=SURFACES,
        ),
        "searches": saved.searches_of(request.actor),
        "carried": parse_qsl(
            replace(filters, **_IN_FORM).query(before=None, after=None)
        ),
        "technical_query": filters.query(technical=not filters.technical),
        "counted": COUNTED,
        "export_url": export_url,
    }
    answer = page_or_fragment(
        request,
        page="audit/ledger.html",
        fragment="audit/_ledger.html",
        context=context,
        status=status,
    )
    # The browser shows the query string in its normal spelling, without empty fields,
    # and with typed filters as fields.
    answer["HX-Push-Url"] = _address(filters.query())
    return answer


def _address(query: str, name: str = "audit") -> str:
    return f"{reverse(name)}?{query}" if query else reverse(name)


# A page of entries as JSON, for scripts; `next` is the address of the next page.
def _as_json(request: DeskRequest, filters: Filters) -> HttpResponse:
    try:
        with within_time():
            page = page_of(readable(request.actor, filters), filters)
    except SearchTooLongError:
        error = "This search takes too long. Narrow it by time, action or person."
        return JsonResponse({"error": error, "remarks": filters.remarks}, status=422)
    following = ""
    if page.older:
        following = f"{_address(filters.query(before=page.older))}&format=json"
    entries = [line.as_json() for line in page.lines]
    return JsonResponse(
        {"entries": entries, "next": following, "remarks": filters.remarks}
    )


def _chips(
    filters: Filters, counts: dict[str, list[Count]]
) -> list[tuple[str, str, str]]:
    """Return (name, value, query string without it) of each filter that is on."""
    # For people and connections, the facets have the names.
    labels = {
        "action": {filters.action: kind_label(filters.action)},
        "actor": {filters.actor: filters.actor.replace("/", " ")},
    }
    for name, values in counts.items():
        labels.setdefault(name, {}).update((value, label) for value, _, label in values)
    is_one_day = filters.since and filters.since == filters.until
    chips = [
        (NARROWING[name], labels.get(name, {}).get(value, value), filters.without(name))
        for name, value in filters.pairs()
        if not (is_one_day and name in ("since", "until"))
    ]
    if is_one_day:
        chips.append(("On", filters.since, filters.without("since", "until")))
    return chips


def _facet_groups(
    filters: Filters, counts: dict[str, list[Count]]
) -> list[tuple[str, list[Choice], list[Choice]]]:
    """Return (label, values shown at once, values behind "more") of each facet."""
    labels = {
        "action": "Actions",
        "actor": "Who",
        "surface": "Source",
        "connection": "Connection",
    }
    groups = []
    for name, label in labels.items():
        choices = []
        for value, number, value_label in counts.get(name, []):
            is_on = (name, value) in filters.pairs()
            query = filters.query(**{name: value})
            if is_on:
                query = filters.without(name)
            choices.append(Choice(value_label, number, query, is_on))
        if choices:
            groups.append((label, choices[:SHOWN], choices[SHOWN:]))
    return groups


# --- Saved searches -------------------------------------------------------------------


@require_POST
def save(request: DeskRequest) -> HttpResponse:
    """Save the present search, and redirect back to it."""
    filters = Filters.from_query(request.POST.get("query", "")[:4000], zone_name())
    return saved.save(request, SavedSearch, filters.query(before=None, after=None))


@require_POST
def delete(request: DeskRequest, search_id: int) -> HttpResponse:
    """Delete one of the user's own searches; another person's is a 404."""
    return saved.delete(request, SavedSearch, search_id)
