"""Views of the queue saved under a name, for one person or for everybody."""

from datetime import datetime

from django import forms
from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from approvals.models import SavedView
from approvals.queue.filters import Filters, read_filters
from approvals.queue.views import mailboxes_of
from audit.recording import changed, record
from common.actors import Actor
from common.forms import SentenceForm
from common.pages import DeskRequest
from mirror.errors import ActNotAllowed

# More than so many are not found again by their names.
MAX_VIEWS = 50


@transaction.atomic
def save_view(
    *, name: str, filters: Filters, shared: bool, actor: Actor, now: datetime
) -> SavedView:
    """Save the queue's filters under a name; this person's view of the same name is
    replaced.
    """
    query = filters.query(after=None)
    if len(query) > 1000:
        raise ActNotAllowed("This view is too long to save. Shorten the search.")
    mine = SavedView.objects.of(actor)
    found = mine.filter(name__iexact=name).first()
    if found is None and mine.count() >= MAX_VIEWS:
        raise ActNotAllowed(f"You have {MAX_VIEWS} views already: delete one first.")
    before = _description(found) if found else ""
    view = found or SavedView(person_id=int(actor.id), created_at=now)
    view.name = name
    view.query = query
    view.shared = shared
    try:
        with transaction.atomic():
            view.save()
    except IntegrityError:
        raise ActNotAllowed(f"You saved a view called “{name}” a moment ago.") from None
    details = {"name": name, **changed(before=before, after=_description(view))}
    record("view.saved", actor=actor, details=details)
    return view


@transaction.atomic
def delete_view(*, view: int, actor: Actor) -> bool:
    """Delete a view of this person; False where it does not exist."""
    found = SavedView.objects.of(actor).filter(pk=view).select_for_update().first()
    if found is None:
        return False
    details = {"name": found.name, **changed(before=_description(found), after="")}
    record("view.deleted", actor=actor, details=details)
    found.delete()
    return True


def _description(view: SavedView) -> str:
    return f"{view.query or 'everything'}, for {'everybody' if view.shared else 'its owner'}"


class SavedViewForm(SentenceForm):
    """A name for what the queue shows now."""

    name = forms.CharField(
        max_length=60,
        error_messages={
            "required": "Give the view a name.",
            "max_length": "Keep the name under 60 characters.",
        },
    )
    query = forms.CharField(required=False, max_length=4000, strip=False)
    shared = forms.BooleanField(required=False)


@require_POST
def save(request: DeskRequest) -> HttpResponse:
    """Save the queue's current filters, and go back to it."""
    form = SavedViewForm(request.POST)
    form.is_valid()
    asked = QueryDict(form.cleaned_data.get("query", ""))
    filters = read_filters(asked, mailboxes=mailboxes_of(request))
    try:
        if form.errors:
            raise ActNotAllowed(form.first_error())
        view = save_view(
            name=form.cleaned_data["name"],
            filters=filters,
            shared=form.cleaned_data["shared"],
            actor=request.actor,
            now=timezone.now(),
        )
    except ActNotAllowed as error:
        return _back(request, filters.query(), error.sentence, is_wrong=True)
    return _back(
        request,
        view.query,
        f"Saved as “{view.name}”{', for everybody' if view.shared else ''}.",
    )


@require_POST
def delete(request: DeskRequest, view_id: int) -> HttpResponse:
    """Delete a view of one's own; somebody else's is not there to be deleted."""
    if not delete_view(view=view_id, actor=request.actor):
        raise Http404("You have no such view.")
    return _back(request, "", "The view was deleted. No messages were changed.")


def _back(
    request: DeskRequest, query: str, notice: str, *, is_wrong: bool = False
) -> HttpResponse:
    """Lead to the queue, where a notice says what happened."""
    level = messages.ERROR if is_wrong else messages.INFO
    messages.add_message(request, level, notice, extra_tags="desk")
    return redirect(reverse("queue") + (f"?{query}" if query else ""))
