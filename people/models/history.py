"""Who had which role where, and when. Only database triggers write it; a migration of
this app defines them.

It has no foreign keys, so that rows stay when their person, connection or mailbox is
deleted.
"""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q

from common.actors import Actor, Role
from mirror.models import Mailbox


class GrantPeriodQuerySet(models.QuerySet["GrantPeriod"]):
    """Queries of the history of rights."""

    def in_force_at(self, at: datetime) -> Self:
        """Grants in force at that moment: a period includes its start and excludes its
        end.
        """
        return self.filter(since__lte=at).filter(Q(until=None) | Q(until__gt=at))

    def of_person(self, person: int) -> Self:
        """One person's periods, also of a deleted person."""
        return self.filter(person=person)

    def reaching(self, *, connection: int | None, mailbox: int | None) -> Self:
        """Those that include a target; without connection and mailbox, those for
        everything.
        """
        here = Q(connection=None)
        if connection is not None:
            here |= Q(connection=connection, mailbox=None)
        if mailbox is not None:
            here |= Q(mailbox=mailbox)
        return self.filter(here)

    def read_by(self, actor: Actor) -> Self:
        """Those within the actor's visible scope as admin or auditor, as in
        `PersonManager.read_by`.
        """
        scopes = actor.acting_as(Role.ADMIN, Role.AUDITOR).scopes
        if any(scope.is_everywhere for scope in scopes):
            return self
        if not scopes:
            return self.none()
        visible = Q(connection=None)
        for scope in scopes:
            if scope.mailbox is not None:
                around = Mailbox.objects.filter(pk=scope.mailbox).values("connection")
                visible |= Q(mailbox=scope.mailbox)
                visible |= Q(connection__in=around, mailbox=None)
            else:
                visible |= Q(connection=scope.connection)
        return self.filter(visible)

    def by_person(self) -> Self:
        """In the order of a list of people."""
        return self.order_by(
            "name", "email", "person", "connection", "mailbox", "role", "pk"
        )

    def oldest_first(self) -> Self:
        """In the order of time."""
        return self.order_by("since", "pk")


class GrantPeriod(models.Model):
    """A role that was in force from one moment to another; without an end it is in
    force now.

    A deactivated person's role is not in force; reactivating them starts another
    period.
    """

    class Began(models.TextChoices):
        GIVEN = "given", "Given"
        CHANGED = "changed", "Changed to this"
        REACTIVATED = "reactivated", "Reactivated"
        # The grant is older than this history; its own row says since when.
        FOUND = "found", "Given"

    class Ended(models.TextChoices):
        TAKEN = "taken", "Removed"
        CHANGED = "changed", "Changed to another"
        DEACTIVATED = "deactivated", "Deactivated"

    # The grant's key. Two periods share it if its person was deactivated in between.
    grant = models.BigIntegerField()
    person = models.BigIntegerField()
    # The person's name at the start.
    name = models.CharField(max_length=80)
    email = models.CharField(max_length=254)
    role = models.CharField(max_length=10)
    # A mailbox is stored together with its connection; neither means everything.
    connection = models.BigIntegerField(null=True)
    mailbox = models.BigIntegerField(null=True)
    # The target's name at the start.
    place = models.CharField(max_length=320)
    since = models.DateTimeField()
    until = models.DateTimeField(null=True)
    began = models.CharField(max_length=12, choices=Began)
    ended = models.CharField(max_length=12, choices=Ended, blank=True)

    objects = GrantPeriodQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["grant"], condition=Q(until=None), name="grant_period_once"
            ),
            models.CheckConstraint(
                condition=Q(until=None, ended="")
                | Q(until__gte=models.F("since")) & ~Q(ended=""),
                name="grant_period_ends_late",
            ),
        ]
        indexes = [
            models.Index(fields=["person", "since"], name="grant_period_person"),
            # Skips periods that ended before the requested moment.
            models.Index(fields=["until", "since"], name="grant_period_moment"),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.role} of {self.place}"
