"""The ledger for people: searched by any field, newest first, with counts beside it;
and searches saved by a name.
"""

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from audit.models import reads_everything
from audit.search.filters import GROUPS, SURFACES, Filters, kind_label
from audit.search.results import (
    COUNTED,
    Count,
    Facets,
    SearchTooLongError,
    decision_of,
    facets_of,
    hidden_by_filters,
    page_of,
    readable,
    shown_of,
    within_time,
)
from audit.search.saved import (
    SearchNotSavedError,
    delete_search,
    save_search,
    searches_of,
)
from common.forms import SentenceForm
from common.pages import DeskRequest, page_or_fragment
from common.time_zones import zone_name

# A facet shows so many values, and the others behind "more".
SHOWN = 6
# The filters for which the search form has fields.
_IN_FORM: dict[str, Any] = dict.fromkeys(
    ("text", "to", "by", "action", "surface", "fingerprint", "since", "until"), ""
)
Names = dict[tuple[str, str], str]


@dataclass(frozen=True)
class Choice:
    """One value of a facet: its label, its count and its link."""

    label: str
    number: int
    query: str
    is_on: bool


@require_safe
def ledger(request: DeskRequest) -> HttpResponse:
    """Show what happened, newest first, a hundred entries a page; technical ones only
    where they are asked for.
    """
    filters = Filters.from_query(request.GET, zone_name())
    as_json = request.GET.get("format") == "json"
    try:
        with within_time():
            entries = readable(request.actor, filters)
            page = page_of(entries if as_json else shown_of(entries, filters), filters)
            facets = (
                None if as_json else facets_of(entries, filters, actor=request.actor)
            )
            is_first = not (as_json or filters.before or filters.after)
            decision = (
                decision_of(page, actor=request.actor)
                if is_first and filters.searches
                else None
            )
            is_empty = (
                is_first
                and facets is not None
                and not facets.total
                and not facets.folded
            )
            hidden = hidden_by_filters(request.actor, filters) if is_empty else 0
    except SearchTooLongError:
        return _too_long(request, filters, as_json=as_json)
    if as_json:
        following = (
            f"{_address(filters.query(before=page.older))}&format=json"
            if page.older
            else ""
        )
        entries_json = [line.as_json() for line in page.lines]
        return JsonResponse(
            {
                "entries": entries_json,
                "next": following,
                "remarks": list(filters.remarks),
            }
        )
    context = {
        **_frame(request, filters, facets),
        "lines": [
            line for line in page.lines if decision is None or line.pk != decision.pk
        ],
        "decision": decision,
        "hidden": f"{COUNTED:,}+" if hidden > COUNTED else hidden,
        "words_query": Filters(
            text=filters.text, to=filters.to, by=filters.by, technical=True
        ).query(),
        "reads_everything": reads_everything(request.actor),
        "is_first_page": page.newer is None,
        "older_query": filters.query(before=page.older) if page.older else "",
        "newer_query": filters.query(after=page.newer) if page.newer else "",
    }
    answer = page_or_fragment(
        request,
        page="audit/ledger.html",
        fragment="audit/_ledger.html",
        context=context,
    )
    # Fields that were left empty, and tokens that were typed, go into the address in
    # its one spelling.
    answer["HX-Push-Url"] = _address(filters.query())
    return answer


def _address(query: str, name: str = "audit") -> str:
    return f"{reverse(name)}?{query}" if query else reverse(name)


def _too_long(request: DeskRequest, filters: Filters, *, as_json: bool) -> HttpResponse:
    if as_json:
        error = "This search takes too long. Narrow it by time, action or person."
        return JsonResponse(
            {"error": error, "remarks": list(filters.remarks)}, status=422
        )
    context = {**_frame(request, filters, None), "took_too_long": True, "lines": []}
    return page_or_fragment(
        request,
        page="audit/ledger.html",
        fragment="audit/_ledger.html",
        context=context,
        status=422,
    )


def _frame(
    request: DeskRequest, filters: Filters, facets: Facets | None
) -> dict[str, Any]:
    """Return the context around the entries: the form's values, chips, facets and saved
    searches.
    """
    counts = facets.counts if facets else {}
    # The names of people and connections, from the newest entries.
    names = {
        (name, one.value): one.label
        for name in ("actor", "connection")
        for one in counts.get(name, [])
    }
    first = filters.query(before=None, after=None)
    kinds = (
        GROUPS
        if not filters.action
        else {**GROUPS, filters.action: kind_label(filters.action)}
    )
    return {
        "filters": filters,
        "first_query": first,
        "facets": facets,
        "facet_groups": _facet_groups(filters, counts, names),
        "chips": _chips(filters, names),
        "kinds": list(kinds.items()),
        "surfaces": SURFACES,
        "searches": searches_of(request.actor),
        "carried": parse_qsl(
            replace(filters, **_IN_FORM).query(before=None, after=None)
        ),
        "technical_query": filters.query(technical=not filters.technical),
        "counted": COUNTED,
        "export_url": _export_url(filters.query(technical=False))
        if request.actor.looks_after_people
        else "",
        "now": timezone.now(),
    }


def _export_url(query: str) -> str:
    try:
        return _address(query, "export")
    except NoReverseMatch:
        return ""


def _label(name: str, value: str, names: Names) -> str:
    if name == "action":
        return kind_label(value)
    if name in ("actor", "connection"):
        return names.get((name, value)) or value.replace("/", " ")
    return value


CHIPS = {
    "q": "Words",
    "to": "To",
    "by": "By",
    "action": "Action",
    "actor": "Who",
    "surface": "Source",
    "connection": "Connection",
    "message": "Message",
    "fingerprint": "Fingerprint",
    "trace": "Trace id",
    "since": "Since",
    "until": "Until",
}


def _chips(filters: Filters, names: Names) -> list[tuple[str, str, str]]:
    """Return each filter that is on: what it is called, its value, and the address
    without it.
    """
    pairs = dict(filters.pairs())
    is_one_day = "since" in pairs and pairs["since"] == pairs.get("until")
    on = pairs.pop("since") if is_one_day else ""
    if is_one_day:
        del pairs["until"]
    chips = [
        (CHIPS[name], _label(name, value, names), filters.without(name))
        for name, value in pairs.items()
    ]
    return [*chips, ("On", on, filters.without("since", "until"))] if on else chips


def _facet_groups(
    filters: Filters, counts: dict[str, list[Count]], names: Names
) -> list[tuple[str, list[Choice], list[Choice]]]:
    """Return the facets, each with what it shows at once and what it shows on demand."""
    labels = {
        "action": "Actions",
        "actor": "Who",
        "surface": "Source",
        "connection": "Connection",
    }
    return [
        (label, choices[:SHOWN], choices[SHOWN:])
        for name, label in labels.items()
        if (
            choices := [
                _choice(filters, name, one, names) for one in counts.get(name, [])
            ]
        )
    ]


def _choice(filters: Filters, name: str, one: Count, names: Names) -> Choice:
    is_on = (name, one.value) in filters.pairs()
    value: Any = int(one.value) if name == "connection" else one.value
    query = filters.without(name) if is_on else filters.query(**{name: value})
    return Choice(_label(name, one.value, names), one.number, query, is_on)


# --- Saved searches -------------------------------------------------------------------


class SavedSearchForm(SentenceForm):
    """A name for what the ledger is searched for now."""

    name = forms.CharField(
        max_length=60,
        error_messages={
            "required": "Give the search a name.",
            "max_length": "Keep the name under 60 characters.",
        },
    )
    query = forms.CharField(required=False, max_length=4000, strip=False)
    shared = forms.BooleanField(required=False)


@require_POST
def save(request: DeskRequest) -> HttpResponse:
    """Save what the ledger is searched for now, and lead back to it."""
    form = SavedSearchForm(request.POST)
    form.is_valid()
    filters = Filters.from_query(form.cleaned_data.get("query", ""), zone_name())
    error = form.first_error()
    query = filters.query()
    if not error:
        name = form.cleaned_data["name"]
        shared = form.cleaned_data["shared"]
        try:
            query = save_search(
                name=name, filters=filters, shared=shared, actor=request.actor
            ).query
        except SearchNotSavedError as refused:
            error = str(refused)
    if error:
        messages.error(request, error, extra_tags="desk")
    else:
        messages.info(
            request,
            f"Saved as “{name}”{', for everybody' if shared else ''}.",
            extra_tags="desk",
        )
    return redirect(_address(query))


@require_POST
def delete(request: DeskRequest, search_id: int) -> HttpResponse:
    """Delete one of the user's own searches; another person's is a 404."""
    if not delete_search(search=search_id, actor=request.actor):
        raise Http404("You have no such search.")
    messages.info(
        request,
        "The saved search was deleted. No entries were changed.",
        extra_tags="desk",
    )
    return redirect("audit")
