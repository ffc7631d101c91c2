"""Reads of what the gates refused because of an allowlist."""

from datetime import datetime
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Q

from people.actors import Actor

if TYPE_CHECKING:
    from mirror.models import GateRefusal  # noqa: F401 - the queryset's type parameter


class GateRefusalQuerySet(models.QuerySet["GateRefusal"]):
    """What was refused before anything was queued."""

    def visible_to(self, actor: Actor) -> Self:
        """Of what the actor has a role for; where the mailbox is not known, for the whole connection."""
        if actor.sees_all():
            return self
        connections = [scope.connection for scope in actor.scopes if scope.mailbox is None]
        mailboxes = [scope.mailbox for scope in actor.scopes if scope.mailbox is not None]
        return self.filter(Q(connection__in=connections) | Q(mailbox__in=mailboxes))

    def under(self, *, connection: int | None, mailbox: int | None) -> Self:
        """Those that a list of this place has a say in."""
        if mailbox is not None:
            return self.filter(mailbox=mailbox)
        return self if connection is None else self.filter(connection=connection)

    def since(self, at: datetime) -> Self:
        """Of real mail, refused from then on, newest first (relies on gate_refusal_newest)."""
        return self.filter(refused_at__gte=at, sandbox=False).order_by("-refused_at", "-id")

    def for_page(self, before: int | None) -> Self:
        """Newest first from behind the row `before` on, with names (relies on gate_refusal_newest)."""
        named = self.select_related("connection", "mailbox").order_by("-refused_at", "-id")
        last = self.filter(pk=before).values_list("refused_at", "pk").first() if before else None
        if last is None:
            return named
        return named.filter(Q(refused_at__lt=last[0]) | Q(refused_at=last[0], pk__lt=last[1]))
