"""Saves addresses of lists under a name, for oneself or for everybody, and deletes
them: searches of the ledger, and views of the queue.
"""

from django import forms
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
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


class NotSaved(Exception):
    """An address that cannot be saved, with a sentence that says why."""


@transaction.atomic
def save_row(row: Saved, *, actor: Actor) -> None:
    """Save a new row; one of the same name of this person's is replaced. Raises
    NotSaved.

    Words such as `today` are saved as words: they mean another day tomorrow.
    """
    if len(row.query) > MAX_QUERY:
        raise NotSaved(f"This {row.noun} is too long to save. Shorten it.")
    mine = type(row).objects.of(actor)
    found = mine.filter(name__iexact=row.name).first()
    if found is None and mine.count() >= MOST:
        raise NotSaved(f"You have {MOST} saved already: delete one first.")
    before = ""
    if found:
        before = _description(found)
        row.pk = found.pk
        row.created_at = found.created_at
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        raise NotSaved(
            f"You saved a {row.noun} called “{row.name}” a moment ago."
        ) from None
    details = {"name": row.name, **changed(before, _description(row))}
    record(row.saved, actor, details=details)


def _description(row: Saved) -> str:
    return f"{row.noun}: {row.query or 'everything'}; for: {'everybody' if row.shared else 'its owner'}"


def searches_of(actor: Actor) -> list[SavedSearch]:
    """Return the searches of the ledger that the person may use, with owners."""
    found = list(SavedSearch.objects.usable_by(actor))
    owners = get_user_model().objects.in_bulk({one.person for one in found})
    for one in found:
        one.owner = str(owners.get(one.person, "somebody who left"))
    return found


# --- What views have in common --------------------------------------------------------


class SavedForm(SentenceForm):
    """A name for what a list shows now."""

    name = forms.CharField(
        max_length=60,
        error_messages={"max_length": "Keep the name under 60 characters."},
    )
    shared = forms.BooleanField(required=False)


def save(request: DeskRequest, row: Saved) -> HttpResponse:
    """Save what the list shows now, and lead back to it."""
    form = SavedForm(request.POST)
    form.fields["name"].error_messages["required"] = f"Give the {row.noun} a name."
    error = form.first_error()
    if not error:
        row.name = form.cleaned_data["name"]
        row.shared = form.cleaned_data["shared"]
        try:
            save_row(row, actor=request.actor)
        except NotSaved as refused:
            error = str(refused)
    back = reverse(row.page) + (f"?{row.query}" if row.query else "")
    if error:
        messages.error(request, error, extra_tags="desk")
        return redirect(back)
    notice = f"Saved as “{row.name}”{', for everybody' if row.shared else ''}."
    return redirect_with_notice(request, notice, back)


@transaction.atomic
def delete(request: DeskRequest, kind: type[Saved], key: int) -> HttpResponse:
    """Delete one of the person's own; somebody else's is a 404."""
    found = kind.objects.of(request.actor).filter(pk=key).select_for_update().first()
    if found is None:
        raise Http404(f"You have no such {kind.noun}.")
    details = {"name": found.name, **changed(_description(found), "")}
    record(kind.deleted, request.actor, details=details)
    found.delete()
    notice = f"The {kind.noun} was deleted. Nothing else was changed."
    return redirect_with_notice(request, notice, kind.page)
