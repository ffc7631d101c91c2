"""Saves searches of the ledger under a name, for oneself or for everybody, and deletes
them.
"""

from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.db.models import Q

from audit.models import SavedSearch
from audit.recording import changed, record
from audit.search.filters import Filters
from common.actors import Actor

MAX_SEARCHES = 50
MAX_QUERY = 1000


class SearchNotSavedError(Exception):
    """A search that cannot be saved, with a sentence that says why."""


def save_search(
    *, name: str, filters: Filters, shared: bool, actor: Actor
) -> SavedSearch:
    """Save what the ledger is searched for under a name; one of the same name of this
    person's is replaced.

    Words such as `today` are saved as words: they mean another day tomorrow. Raises
    SearchNotSavedError.
    """
    query = filters.query(before=None, after=None)
    if len(query) > MAX_QUERY:
        raise SearchNotSavedError("This search is too long to save. Shorten it.")
    with transaction.atomic():
        mine = _of(actor)
        found = mine.filter(name__iexact=name).first()
        if found is None and mine.count() >= MAX_SEARCHES:
            raise SearchNotSavedError(
                f"You have {MAX_SEARCHES} saved searches already: delete one first."
            )
        before = _description(found) if found else ""
        search = found or SavedSearch(person=int(actor.id))
        search.name = name
        search.query = query
        search.shared = shared
        try:
            with transaction.atomic():
                search.save()
        except IntegrityError:
            raise SearchNotSavedError(
                f"You saved a search called “{name}” a moment ago."
            ) from None
        details = {"name": name, **changed(before=before, after=_description(search))}
        record("ledger.search_saved", actor=actor, details=details)
    return search


def delete_search(*, search: int, actor: Actor) -> bool:
    """Delete a search of this person's; False where they have none like that."""
    with transaction.atomic():
        found = _of(actor).filter(pk=search).select_for_update().first()
        if found is None:
            return False
        details = {"name": found.name, **changed(before=_description(found), after="")}
        record("ledger.search_deleted", actor=actor, details=details)
        found.delete()
    return True


def searches_of(actor: Actor) -> list[SavedSearch]:
    """Return the person's own and those that others share, with owners: their own
    first, then by name.

    A search is an address and nothing more: whoever opens it sees what they may see.
    """
    if actor.kind != "person":
        return []
    mine = Q(person=actor.id)
    searches = SavedSearch.objects.filter(mine | Q(shared=True)).annotate(is_mine=mine)
    found: list[Any] = list(searches.order_by("-is_mine", "name", "pk"))
    owners = get_user_model().objects.in_bulk(
        {one.person for one in found if not one.is_mine}
    )
    for one in found:
        one.owner = owners.get(one.person, "somebody who left")
    return found


def _of(actor: Actor) -> Any:
    return (
        SavedSearch.objects.filter(person=actor.id)
        if actor.kind == "person"
        else SavedSearch.objects.none()
    )


def _description(search: SavedSearch) -> str:
    return f"search: {search.query or 'everything'}; for: {'everybody' if search.shared else 'its owner'}"
