"""Every read of the saved views of the queue."""

from typing import TYPE_CHECKING, Any, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import JSONObject

from people.actors import Actor

if TYPE_CHECKING:
    from approvals.models import SavedView


class SavedViewQuerySet(models.QuerySet["SavedView"]):
    """Reads of saved views."""

    def of(self, actor: Actor) -> Self:
        """Those that this person saved."""
        return self.filter(person=actor.id) if actor.kind == "person" else self.none()

    def usable_by(self, actor: Actor) -> Self:
        """Their own and those that others share: their own first, then by name.

        A view is an address and nothing more: whoever opens it sees what they may see.
        """
        if actor.kind != "person":
            return self.none()
        found = self.filter(Q(person=actor.id) | Q(shared=True))
        return found.order_by(models.Case(models.When(person=actor.id, then=0), default=1), "name", "pk")

    def spelled(self, actor: Actor) -> models.QuerySet["SavedView", Any]:
        """Return what a menu shows of each, as one column, to be told together with other things."""
        is_mine = models.Case(models.When(person=actor.id, then=True), default=False)
        told = {name: models.F(name) for name in ("pk", "name", "query", "shared")}
        return self.values_list(JSONObject(**told, is_mine=is_mine, person=models.F("person__name")))
