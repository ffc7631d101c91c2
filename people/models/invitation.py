"""One-time links: invitations to join the desk, and links to set a new password."""

from datetime import timedelta
from typing import Self

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

from people.models.person import Person

# How long an expired, unused link stays in the list, so that it can be renewed.
LISTED = timedelta(days=30)


class InvitationQuerySet(models.QuerySet["Invitation"]):
    """Queries of one-time links; the database's clock decides whether one has expired."""

    def unanswered(self) -> Self:
        """Neither used nor withdrawn; they may have expired."""
        return self.filter(accepted_at=None, withdrawn_at=None)

    def good(self) -> Self:
        """The valid ones."""
        return self.unanswered().filter(expires_at__gt=Now())

    def to_list(self) -> Self:
        """Unused invitations, newest first, without those that expired long ago."""
        joins = self.unanswered().filter(
            kind=Invitation.Kind.JOIN, expires_at__gt=Now() - LISTED
        )
        return joins.select_related("invited_by").order_by("-pk")

    def passwords_of(self, person: Person) -> Self:
        """A person's links for a new password."""
        return self.filter(kind=Invitation.Kind.PASSWORD, person=person)

    def withdraw(self) -> int:
        """Withdraw all of them, and return how many of them were valid."""
        return self.unanswered().update(withdrawn_at=Now())


class Invitation(models.Model):
    """A link that works once, until a date, for one address. Only the hash of its token
    is stored.
    """

    class Kind(models.TextChoices):
        JOIN = "join", "Join the desk"
        PASSWORD = "password", "Set a new password"

    kind = models.CharField(max_length=10, choices=Kind, default=Kind.JOIN)
    email = models.EmailField()
    name = models.CharField(max_length=80, blank=True)
    token_hash = models.CharField(max_length=64, unique=True)
    # The roles of the person who joins: [{"role": "reviewer", "connection": null,
    # "mailbox": 7}].
    grants = models.JSONField(default=list)
    # The person whose password it sets, or who joined by it.
    person = models.ForeignKey(
        Person,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="invitations",
    )
    # Null for the first admin's link, which is made on the command line.
    invited_by = models.ForeignKey(
        Person, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    objects = InvitationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind__in=["join", "password"]),
                name="invitation_kind_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} link for {self.email}"

    @property
    def is_over(self) -> bool:
        """Whether it has expired."""
        return self.expires_at <= timezone.now()
