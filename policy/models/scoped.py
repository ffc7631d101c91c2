"""The base of tables whose rows are for everything, one connection or one mailbox."""

from typing import ClassVar, Self, TypeVar

from django.db import models
from django.db.models import Q

from common.actors import Actor, Role
from mirror.models import Connection, Mailbox

Row = TypeVar("Row", bound="Scoped")


class ScopedQuerySet(models.QuerySet[Row]):
    """Reads of such rows."""

    def visible_to(self, actor: Actor) -> Self:
        """Those for everything, and those of connections and mailboxes that the actor
        sees. Whoever has no role sees none.
        """
        if actor.sees_all():
            return self
        if not actor.scopes:
            return self.none()
        connections = Connection.objects.visible_to(actor)
        mailboxes = Mailbox.objects.visible_to(actor)
        return self.filter(
            Q(connection=None, mailbox=None)
            | Q(connection__in=connections)
            | Q(mailbox__in=mailboxes)
        )


class Scoped(models.Model):
    """A row that is for one connection, or one mailbox, or with neither for everything."""

    connection = models.ForeignKey(
        Connection, null=True, on_delete=models.PROTECT, related_name="+"
    )
    mailbox = models.ForeignKey(
        Mailbox, null=True, on_delete=models.PROTECT, related_name="+"
    )

    # What it is for without either, in words.
    whole: ClassVar[str] = "everything"

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=Q(connection=None) | Q(mailbox=None),
                name="%(class)s_one_scope",
            )
        ]

    @property
    def scope(self) -> str:
        """What it is for, in words."""
        return str(self.mailbox or self.connection or self.whole)

    @property
    def owning_connection(self) -> int | None:
        """The key of the connection that it is for, or whose mailbox it is for."""
        return self.mailbox.connection_id if self.mailbox else self.connection_id

    def is_within(self, actor: Actor, role: Role) -> bool:
        """Whether the actor has this role for everything that it is for."""
        return actor.is_a(
            role, connection=self.owning_connection, mailbox=self.mailbox_id
        )
