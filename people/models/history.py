"""Who had which role where, and from when to when. Only triggers of the database write it (migration 0004).

Rows point to nothing: what is told of here outlives its person, connection and mailbox.
"""

from datetime import datetime
from typing import Any, Self

from django.apps import apps
from django.db import models
from django.db.models import Q

from people.actors import Actor, Role


class GrantPeriodQuerySet(models.QuerySet["GrantPeriod"]):
    """Reads of the history of rights."""

    def standing_at(self, at: datetime) -> Self:
        """What counted at that moment: its beginning belongs to a period, its end does not."""
        return self.filter(since__lte=at).filter(Q(until=None) | Q(until__gt=at))

    def of_person(self, person: int) -> Self:
        """One person's, whether they are still here or not."""
        return self.filter(person=person)

    def reaching(self, *, connection: int | None, mailbox: int | None) -> Self:
        """Those for a place: its own, and those for what it is in. Of nothing in particular: those for everything."""
        here = Q(connection=None)
        if connection is not None:
            here |= Q(connection=connection, mailbox=None)
        if mailbox is not None:
            here |= Q(mailbox=mailbox)
        return self.filter(here)

    def read_by(self, actor: Actor) -> Self:
        """Those that have to do with what the actor looks after, or looks up, as `PersonManager.read_by` has it."""
        scopes = actor.acting_as(Role.ADMIN, Role.AUDITOR).scopes
        if any(scope.connection is None and scope.mailbox is None for scope in scopes):
            return self
        mailboxes: Any = apps.get_model("mirror", "Mailbox")._default_manager
        reach = Q(connection=None)
        for scope in scopes:
            if scope.mailbox is not None:
                around = mailboxes.filter(pk=scope.mailbox).values("connection")
                reach |= Q(mailbox=scope.mailbox) | Q(connection__in=around, mailbox=None)
            else:
                reach |= Q(connection=scope.connection)
        return self.filter(reach) if scopes else self.none()

    def by_person(self) -> Self:
        """In the order of a list of people."""
        return self.order_by("name", "email", "person", "connection", "mailbox", "role", "pk")

    def oldest_first(self) -> Self:
        """In the order of a story."""
        return self.order_by("since", "pk")


class GrantPeriod(models.Model):
    """A role that counted from one moment to another; without an end it counts now.

    A role of whoever is deactivated does not count, and begins to again with whoever is let in again.
    """

    class Began(models.TextChoices):
        GIVEN = "given", "Given"
        CHANGED = "changed", "Changed into this"
        REACTIVATED = "reactivated", "Let in again"
        # It stood when this history began: since when it was there, the role itself says.
        FOUND = "found", "Given"

    class Ended(models.TextChoices):
        TAKEN = "taken", "Taken"
        CHANGED = "changed", "Changed into another"
        DEACTIVATED = "deactivated", "Deactivated"

    # The role's own number, which two periods share where its person was away in between.
    grant = models.BigIntegerField()
    person = models.BigIntegerField()
    # What they were called when it began.
    name = models.CharField(max_length=80)
    email = models.CharField(max_length=254)
    role = models.CharField(max_length=10)
    # Of a mailbox, its connection is told as well; neither: everything.
    connection = models.BigIntegerField(null=True)
    mailbox = models.BigIntegerField(null=True)
    # What the place was called when it began.
    place = models.CharField(max_length=320)
    since = models.DateTimeField()
    until = models.DateTimeField(null=True)
    began = models.CharField(max_length=12, choices=Began)
    ended = models.CharField(max_length=12, choices=Ended, blank=True)

    objects = GrantPeriodQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["grant"], condition=Q(until=None), name="grant_period_once"),
            models.CheckConstraint(
                condition=Q(until=None, ended="") | Q(until__gte=models.F("since")) & ~Q(ended=""),
                name="grant_period_ends_late",
            ),
        ]
        indexes = [
            models.Index(fields=["person", "since"], name="grant_period_person"),
            # What ended before a moment is not looked at for it.
            models.Index(fields=["until", "since"], name="grant_period_moment"),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.role} of {self.place}"
