"""The kill switch: what it stops, and until when."""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now

from common.actors import Actor
from mirror.models import Connection, Mailbox


class KillSwitchQuerySet(models.QuerySet["KillSwitch"]):
    """Reads of the kill switch."""

    def pulled(self) -> Self:
        """Those that stop something now."""
        return self.filter(released_at=None)

    def stopping(self, *, connection: object, mailbox: object) -> Self:
        """Those pulled for everything, for this connection or for this mailbox: keys,
        or references of a query.

        A message whose mailbox is not known may be in any of its connection: there each
        of them stops it.
        """
        everything = Q(connection=None, mailbox=None)
        if mailbox is None:
            one = Q(mailbox__connection=connection)
        else:
            one = Q(
                mailbox__connection=connection, mailbox=Coalesce(mailbox, F("mailbox"))
            )
        return self.pulled().filter(everything | Q(connection=connection) | one)

    def visible_to(self, actor: Actor) -> Self:
        """Those that stop something the actor sees, newest first, with their names."""
        named = (
            self.pulled()
            .select_related("pulled_by", "connection", "mailbox")
            .order_by("-pulled_at")
        )
        if actor.sees_all():
            return named
        connections = Connection.objects.visible_to(actor)
        mailboxes = Mailbox.objects.visible_to(actor)
        everything = Q(connection=None, mailbox=None)
        return named.filter(
            everything | Q(connection__in=connections) | Q(mailbox__in=mailboxes)
        )


class KillSwitch(models.Model):
    """One pull of the kill switch: for everything, a connection or a mailbox. A row
    without an end is pulled.
    """

    # PROTECT: deleting a stopped connection or mailbox would delete its switch too.
    connection = models.ForeignKey(
        Connection, null=True, blank=True, on_delete=models.PROTECT
    )
    mailbox = models.ForeignKey(
        Mailbox, null=True, blank=True, on_delete=models.PROTECT
    )
    reason = models.TextField()
    pulled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    pulled_at = models.DateTimeField(db_default=Now())
    released_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    released_at = models.DateTimeField(null=True, blank=True)

    objects = KillSwitchQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "mailbox"],
                condition=Q(released_at=None),
                nulls_distinct=False,
                name="kill_switch_once",
            ),
            models.CheckConstraint(
                condition=Q(connection=None) | Q(mailbox=None),
                name="kill_switch_one_scope",
            ),
        ]

    def __str__(self) -> str:
        return f"kill switch for {self.mailbox or self.connection or 'everything'}"

    @property
    def owning_connection(self) -> int | None:
        """The key of the connection that it stops, or of whose mailbox."""
        return self.mailbox.connection_id if self.mailbox else self.connection_id
