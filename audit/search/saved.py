"""Saves addresses of lists under a name, for oneself or for everybody, and deletes
them: searches of the ledger, and views of the queue.
"""

from django import forms
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from audit.models import Saved, SavedSearch
from audit.recording import changed, record
from common.actors import Actor
from common.pages import DeskRequest, SentenceForm, redirect_with_notice

# More than so many are not found again by their names.
MOST = 50
MAX_QUERY = 1000


class SavedForm(SentenceForm):
    """A name for what a list shows now."""

    name = forms.CharField(
        max_length=60,
        error_messages={
            "required": "Give it a name.",
            "max_length": "Keep the name under 60 characters.",
        },
    )
    shared = forms.BooleanField(required=False)


@transaction.atomic
def save(request: DeskRequest, kind: type[Saved], query: str) -> HttpResponse:
    """Save what the list shows now, and lead back to it; one of the same name of this
    person's is replaced.

    Words such as `today` are saved as words: they mean another day tomorrow.
    """
    form = SavedForm(request.POST)
    error = form.first_error()
    name = form.cleaned_data.get("name", "")
    mine = kind.objects.of(request.actor)
    found = mine.filter(name__iexact=name).first()
    if len(query) > MAX_QUERY:
        error = f"This {kind.noun} is too long to save. Shorten it."
    elif found is None and mine.count() >= MOST:
        error = f"You have {MOST} saved already: delete one first."
    back = reverse(kind.page) + (f"?{query}" if query else "")
    if error:
        messages.error(request, error, extra_tags="desk")
        return redirect(back)
    values = {"person_id": int(request.actor.id), "query": query, **form.cleaned_data}
    row, _ = mine.update_or_create(name__iexact=name, defaults=values)
    before = found.in_words if found else ""
    details = {"name": name, **changed(before, row.in_words)}
    record(kind.saved, request.actor, details=details)
    notice = f"Saved as “{name}”{', for everybody' if row.shared else ''}."
    return redirect_with_notice(request, notice, back)


@transaction.atomic
def delete(request: DeskRequest, kind: type[Saved], key: int) -> HttpResponse:
    """Delete one of the person's own; somebody else's is a 404."""
    found = kind.objects.of(request.actor).filter(pk=key).select_for_update().first()
    if found is None:
        raise Http404(f"You have no such {kind.noun}.")
    details = {"name": found.name, **changed(found.in_words, "")}
    record(kind.deleted, request.actor, details=details)
    found.delete()
    notice = f"The {kind.noun} was deleted. Nothing else was changed."
    return redirect_with_notice(request, notice, kind.page)


def searches_of(actor: Actor) -> list[SavedSearch]:
    """Return the searches of the ledger that the person may use, with owners."""
    found = list(SavedSearch.objects.usable_by(actor))
    owners = get_user_model().objects.in_bulk({one.person_id for one in found})
    for one in found:
        one.owner = str(owners.get(one.person_id, "somebody who left"))
    return found
