"""Every read of the saved views of the queue."""

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Q

from people.actors import Actor

if TYPE_CHECKING:
    from approvals.models import SavedView  # noqa: F401 - the queryset's type parameter


class SavedViewQuerySet(models.QuerySet["SavedView"]):
    """Reads of saved views."""

    def of(self, actor: Actor) -> Self:
        """Those that this person saved."""
        return self.filter(person=actor.id) if actor.kind == "person" else self.none()

    def usable_by(self, actor: Actor) -> Self:
        """Their own and those that others share, with who saved them: their own first, then by name.

        A view is an address and nothing more: whoever opens it sees what they may see.
        """
        if actor.kind != "person":
            return self.none()
        found = self.filter(Q(person=actor.id) | Q(shared=True)).select_related("person")
        return found.order_by(models.Case(models.When(person=actor.id, then=0), default=1), "name", "pk")
