"""Saves the filters of a list under a name, for oneself or for everybody, and deletes
them. It is used for searches of the ledger and for views of the queue (`kind` says
which).
"""

from django import forms
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from audit.models import Saved, SavedSearch
from audit.recording import record
from common.actors import Actor
from common.pages import DeskRequest, SentenceForm, redirect_with_notice

# How many of a kind a person can save.
MOST = 50
# In characters.
MAX_QUERY = 1000


class SavedForm(SentenceForm):
    """The name under which the present filters are saved, and whether others see it."""

    name = forms.CharField(
        max_length=60,
        error_messages={
            "required": "Give it a name.",
            "max_length": "Use at most 60 characters for the name.",
        },
    )
    shared = forms.BooleanField(required=False)


@transaction.atomic
def save(request: DeskRequest, kind: type[Saved], query: str) -> HttpResponse:
    """Save the list's query string, and redirect back to the list. If this person has
    saved one with this name, it is replaced.

    Words such as `today` are saved as they are, so they mean the day on which they are
    used.
    """
    form = SavedForm(request.POST)
    error = form.first_error()
    name = form.cleaned_data.get("name", "")
    own = kind.objects.of(request.actor)
    replaced = own.filter(name__iexact=name).first()
    if len(query) > MAX_QUERY:
        error = f"This {kind.noun} is too long to save. Shorten it."
    elif not replaced and own.count() >= MOST:
        error = f"You have {MOST} saved already: delete one first."
    back = reverse(kind.page) + (f"?{query}" if query else "")
    if error:
        messages.error(request, error, extra_tags="desk")
        return redirect(back)
    values = {"person_id": int(request.actor.id), "query": query, **form.cleaned_data}
    row, _ = own.update_or_create(name__iexact=name, defaults=values)
    before = replaced.in_words if replaced else ""
    details = {"name": name, "before": before, "after": row.in_words}
    record(kind.saved, request.actor, details=details)
    notice = f"Saved as “{name}”{', for everybody' if row.shared else ''}."
    return redirect_with_notice(request, notice, back)


@transaction.atomic
def delete(request: DeskRequest, kind: type[Saved], key: int) -> HttpResponse:
    """Delete a saved search or view of this person. Raises Http404 if they have none
    with this key.
    """
    row = kind.objects.of(request.actor).filter(pk=key).select_for_update().first()
    if not row:
        raise Http404(f"You have no such {kind.noun}.")
    details = {"name": row.name, "before": row.in_words, "after": ""}
    record(kind.deleted, request.actor, details=details)
    row.delete()
    notice = f"The {kind.noun} was deleted. Nothing else was changed."
    return redirect_with_notice(request, notice, kind.page)


def searches_of(actor: Actor) -> list[SavedSearch]:
    """Return the saved searches that the person can use, with their owners' names."""
    searches = list(SavedSearch.objects.usable_by(actor))
    owners = get_user_model().objects.in_bulk({one.person_id for one in searches})
    for one in searches:
        one.owner = str(owners.get(one.person_id, "somebody who left"))
    return searches
