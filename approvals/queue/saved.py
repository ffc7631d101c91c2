"""Saves views of the queue under a name, for oneself or for everybody, and deletes
them.
"""

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from approvals.models import SavedView
from audit.recording import changed, record
from common.pages import DeskRequest, SentenceForm, redirect_with_notice

# More than so many are not found again by their names.
MOST = 50
MAX_QUERY = 1000


class SavedForm(SentenceForm):
    """A name for what the queue shows now."""

    name = forms.CharField(
        max_length=60,
        error_messages={
            "required": "Give the view a name.",
            "max_length": "Keep the name under 60 characters.",
        },
    )
    shared = forms.BooleanField(required=False)


@transaction.atomic
def save(request: DeskRequest, query: str) -> HttpResponse:
    """Save what the queue shows now, and lead back to it; a view of the same name of
    this person's is replaced.

    Words such as `today` are saved as words: they mean another day tomorrow.
    """
    form = SavedForm(request.POST)
    error = form.first_error()
    name = form.cleaned_data.get("name", "")
    person = int(request.actor.id)
    mine = SavedView.objects.filter(person=person)
    found = mine.filter(name__iexact=name).first()
    if len(query) > MAX_QUERY:
        error = "This view is too long to save. Shorten it."
    elif found is None and mine.count() >= MOST:
        error = f"You have {MOST} saved already: delete one first."
    back = reverse("queue") + (f"?{query}" if query else "")
    if error:
        messages.error(request, error, extra_tags="desk")
        return redirect(back)
    view, _ = SavedView.objects.update_or_create(
        person_id=person,
        name__iexact=name,
        defaults={**form.cleaned_data, "query": query},
    )
    before = found.in_words if found else ""
    details = {"name": name, **changed(before, view.in_words)}
    record("view.saved", request.actor, details=details)
    notice = f"Saved as “{name}”{', for everybody' if view.shared else ''}."
    return redirect_with_notice(request, notice, back)


@transaction.atomic
def delete(request: DeskRequest, key: int) -> HttpResponse:
    """Delete one of the person's own; somebody else's is a 404."""
    mine = SavedView.objects.filter(person=int(request.actor.id), pk=key)
    found = mine.select_for_update().first()
    if found is None:
        raise Http404("You have no such view.")
    details = {"name": found.name, **changed(found.in_words, "")}
    record("view.deleted", request.actor, details=details)
    found.delete()
    notice = "The view was deleted. Nothing else was changed."
    return redirect_with_notice(request, notice, "queue")
