"""Every read of what admins and reviewers set."""

from typing import TYPE_CHECKING, Self

from django.apps import apps
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from people.actors import Actor

if TYPE_CHECKING:
    from policy.models import KillSwitch  # noqa: F401 - the queryset's type parameter


class KillSwitchQuerySet(models.QuerySet["KillSwitch"]):
    """Reads of the kill switch."""

    def pulled(self) -> Self:
        """Those that stop something now."""
        return self.filter(released_at=None)

    def stopping(self, *, connection: object, mailbox: object) -> Self:
        """Those pulled for everything, for this connection or for this mailbox: keys, or references of a query.

        A message whose mailbox is not known may be in any of its connection: there each of them stops it.
        """
        everything = Q(connection=None, mailbox=None)
        if mailbox is None:
            one = Q(mailbox__connection=connection)
        else:
            one = Q(mailbox__connection=connection, mailbox=Coalesce(mailbox, F("mailbox")))
        return self.pulled().filter(everything | Q(connection=connection) | one)

    def visible_to(self, actor: Actor) -> Self:
        """Those that stop something the actor sees, newest first, with their names."""
        named = self.pulled().select_related("pulled_by", "connection", "mailbox").order_by("-pulled_at")
        if actor.sees_all():
            return named
        connections = apps.get_model("approvals", "Connection").objects.visible_to(actor).values("pk")
        mailboxes = apps.get_model("approvals", "Mailbox").objects.visible_to(actor).values("pk")
        everything = Q(connection=None, mailbox=None)
        return named.filter(everything | Q(connection__in=connections) | Q(mailbox__in=mailboxes))
