"""Saves views of the queue under a name, for oneself or for everybody, and deletes them. It shows nothing."""

from datetime import datetime

from django.db import IntegrityError, transaction

from approvals.models import SavedView
from approvals.queue.filters import Filters
from audit.recording import changed, record
from mirror.errors import ActNotAllowed
from people.actors import Actor

# More than so many are not found again by their names.
MAX_VIEWS = 50


def save_view(*, name: str, filters: Filters, shared: bool, actor: Actor, now: datetime) -> SavedView:
    """Keep what the queue shows under a name; one of the same name of this person's is replaced."""
    query = filters.query(after=None)
    if len(query) > 1000:
        raise ActNotAllowed("This view asks for more than can be kept: shorten the search.")
    with transaction.atomic():
        mine = SavedView.objects.of(actor)
        found = mine.filter(name__iexact=name).first()
        if found is None and mine.count() >= MAX_VIEWS:
            raise ActNotAllowed(f"You have {MAX_VIEWS} views already: delete one first.")
        before = _told(found) if found else ""
        view = found or SavedView(person_id=int(actor.id), created_at=now)
        view.name, view.query, view.shared = name, query, shared
        try:
            with transaction.atomic():
                view.save()
        except IntegrityError:
            raise ActNotAllowed(f"You have just saved a view called “{name}”.") from None
        record("view.saved", actor=actor, details={"name": name, **changed(before=before, after=_told(view))})
    return view


def delete_view(*, view: int, actor: Actor, now: datetime) -> bool:
    """Delete a view of this person's; False where they have none like that."""
    with transaction.atomic():
        found = SavedView.objects.of(actor).filter(pk=view).select_for_update().first()
        if found is None:
            return False
        record("view.deleted", actor=actor, details={"name": found.name, **changed(before=_told(found), after="")})
        found.delete()
    return True


def _told(view: SavedView) -> str:
    return f"{view.query or 'everything'}, for {'everybody' if view.shared else 'its owner'}"
