"""Saving a view of the queue under a name, and deleting it."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from approvals.queue.forms import QueueForm, SavedViewForm
from approvals.queue.saved_views import delete_view, save_view
from approvals.queue.views import mailboxes_of
from common.pages import DeskRequest
from mirror.errors import ActNotAllowed


@login_required
@require_POST
def save(request: DeskRequest) -> HttpResponse:
    """Keep what the queue shows now, and lead back to it."""
    form = SavedViewForm(request.POST)
    form.is_valid()
    asked = QueryDict(form.cleaned_data.get("query", ""))
    filters = QueueForm(asked, mailboxes=mailboxes_of(request)).filters()
    if form.errors:
        return _back(request, filters.query(), form.first_error(), is_wrong=True)
    try:
        view = save_view(
            name=form.cleaned_data["name"],
            filters=filters,
            shared=form.cleaned_data["shared"],
            actor=request.actor,
            now=timezone.now(),
        )
    except ActNotAllowed as error:
        return _back(request, filters.query(), error.sentence, is_wrong=True)
    return _back(request, view.query, f"Saved as “{view.name}”{', for everybody' if view.shared else ''}.")


@login_required
@require_POST
def delete(request: DeskRequest, view_id: int) -> HttpResponse:
    """Delete a view of one's own; somebody else's is not there to be deleted."""
    if not delete_view(view=view_id, actor=request.actor, now=timezone.now()):
        raise Http404("You have no such view.")
    return _back(request, "", "The view is deleted. What it showed is where it was.")


def _back(request: DeskRequest, query: str, said: str, *, is_wrong: bool = False) -> HttpResponse:
    """Lead to the queue, where a notice says what happened."""
    tell = messages.error if is_wrong else messages.info
    tell(request, said, extra_tags="desk")
    address = reverse("queue")
    return redirect(f"{address}?{query}" if query else address)
