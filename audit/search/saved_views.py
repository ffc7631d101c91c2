"""Saving a search of the ledger under a name, and deleting it."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from audit.forms import SavedSearchForm
from audit.search.filters import Filters
from audit.search.saved import SearchNotSavedError, delete_search, save_search
from audit.search.views import zone_of
from common.pages import DeskRequest


@login_required
@require_POST
def save(request: DeskRequest) -> HttpResponse:
    """Keep what the ledger is searched for now, and lead back to it."""
    form = SavedSearchForm(request.POST)
    form.is_valid()
    filters = Filters.from_query(form.cleaned_data.get("query", ""), zone_of(request))
    if form.errors:
        return _back(request, filters.query(), form.first_error(), is_wrong=True)
    name, shared = form.cleaned_data["name"], form.cleaned_data["shared"]
    try:
        search = save_search(name=name, filters=filters, shared=shared, actor=request.actor)
    except SearchNotSavedError as error:
        return _back(request, filters.query(), str(error), is_wrong=True)
    return _back(request, search.query, f"Saved as “{search.name}”{', for everybody' if search.shared else ''}.")


@login_required
@require_POST
def delete(request: DeskRequest, search_id: int) -> HttpResponse:
    """Delete a search of one's own; somebody else's is not there to be deleted."""
    if not delete_search(search=search_id, actor=request.actor):
        raise Http404("You have no such search.")
    return _back(request, "", "The search is deleted. What it found is where it was.")


def _back(request: DeskRequest, query: str, said: str, *, is_wrong: bool = False) -> HttpResponse:
    """Lead to the ledger, where a notice says what happened."""
    tell = messages.error if is_wrong else messages.info
    tell(request, said, extra_tags="desk")
    address = reverse("audit")
    return redirect(f"{address}?{query}" if query else address)
