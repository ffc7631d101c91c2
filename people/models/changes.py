"""What the organisation has set about changes of policy, and the changes that wait for
a second admin.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse

from common.actors import Actor, Role, Scope
from mirror.models import Connection, Mailbox

# For how long a change that was asked for can be accepted.
WAITS_FOR = timedelta(days=7)


class OrganisationSettings(models.Model):
    """The settings of the whole organisation: one row, or none while nothing was ever
    set.
    """

    # Since when loosening waits for a second admin; null: it does not wait.
    second_admin_since = models.DateTimeField(null=True)
    second_admin_set_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    # The loosest oversight mode that a mailbox can have; empty: any.
    minimum_oversight = models.CharField(max_length=20)
    minimum_set_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    minimum_set_at = models.DateTimeField(null=True)
    # Since when standing approvals may approve messages; null: they may not.
    standing_since = models.DateTimeField(null=True)
    standing_set_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    # Since when figures of single people are shown to admins and auditors; null: they
    # are not. With the law or the agreement that allows it, as the admin named it.
    person_figures_since = models.DateTimeField(null=True)
    person_figures_set_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    person_figures_because = models.CharField(
        max_length=1000, default="", db_default=""
    )

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(pk=1), name="organisation_settings_once")
        ]

    def __str__(self) -> str:
        return "the settings of the organisation"


class PendingChangeQuerySet(models.QuerySet["PendingChange"]):
    """Queries of changes that wait; the database's clock decides whether one has
    expired.
    """

    def waiting(self) -> Self:
        """Those that can still be accepted."""
        return self.filter(state="waiting", expires_at__gt=Now())

    def visible_to(self, actor: Actor) -> Self:
        """Those of targets that the actor is an admin of, and those that they asked for
        themselves.
        """
        visible = _within(actor.acting_as(Role.ADMIN).scopes)
        if actor.kind == "person" and actor.id.isdecimal():
            visible |= Q(asked_by=int(actor.id))
        return self.filter(visible)

    def for_admin(self, actor: Actor) -> Self:
        """Those that wait, of targets that the actor is an admin of."""
        return self.waiting().filter(_within(actor.acting_as(Role.ADMIN).scopes))

    def at(self, page: str, *args: object) -> Self:
        """Those that wait for a change of what this page shows, the oldest first, with
        who asked.
        """
        there = self.waiting().filter(url=reverse(page, args=args))
        return there.select_related("asked_by").order_by("pk")

    def for_page(self) -> Self:
        """With the names that the page shows, the newest first."""
        return self.select_related("asked_by", "ended_by", "about").order_by("-pk")


def _within(scopes: Iterable[Scope]) -> Q:
    """Rows whose target is wholly within one of these scopes."""
    found = Q(pk=None)
    for scope in scopes:
        if scope.is_everywhere:
            # An empty Q would vanish where it is joined by OR.
            return Q(pk__isnull=False)
        if scope.mailbox is not None:
            found |= Q(mailbox=scope.mailbox)
        else:
            found |= Q(connection=scope.connection)
            found |= Q(mailbox__connection=scope.connection)
    return found


class PendingChange(models.Model):
    """A change of policy that one admin asked for, and that takes effect once a second
    admin accepts it.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        ACCEPTED = "accepted", "Accepted"
        DECLINED = "declined", "Declined"
        WITHDRAWN = "withdrawn", "Withdrawn"
        REFUSED = "refused", "No longer possible"

    # The name of the command that it calls.
    command = models.CharField(max_length=60)
    # Of which connection or mailbox it is; neither: of everything.
    connection = models.ForeignKey(Connection, null=True, on_delete=models.CASCADE)
    mailbox = models.ForeignKey(Mailbox, null=True, on_delete=models.CASCADE)
    # Whose rights it changes: that person cannot accept it.
    about = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.CASCADE,
        related_name="+",
    )
    title = models.CharField(max_length=400)
    before = models.TextField()
    after = models.TextField()
    # The page of what it changes.
    url = models.CharField(max_length=200)
    # The arguments of the command, and a fingerprint of what it is based on. `secret`,
    # encrypted: arguments that are secrets or, once it was accepted, the secret that it
    # made.
    change = models.JSONField()
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    asked_at = models.DateTimeField(db_default=Now())
    reason = models.TextField()
    expires_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    # While a call to MultiMail carries it out.
    lease_until = models.DateTimeField(null=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    ended_at = models.DateTimeField(null=True)
    # Why it was declined or is no longer possible, or why the last try to carry it out
    # did not finish.
    outcome = models.TextField()

    objects = PendingChangeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    state__in=[
                        "waiting",
                        "accepted",
                        "declined",
                        "withdrawn",
                        "refused",
                    ]
                ),
                name="pending_change_state_known",
            ),
            models.CheckConstraint(
                condition=~Q(state="accepted") | ~Q(ended_by=models.F("asked_by")),
                name="pending_change_takes_two",
            ),
            models.CheckConstraint(
                condition=Q(connection=None) | Q(mailbox=None),
                name="pending_change_one_place",
            ),
        ]
        # For every page: nearly always none waits.
        indexes = [
            models.Index(
                fields=["expires_at"],
                condition=Q(state="waiting"),
                name="pending_change_waiting",
            )
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def has_secret(self) -> bool:
        """Whether it was accepted, and made a secret that nobody has seen yet."""
        return self.state == self.State.ACCEPTED and "secret" in self.change

    def is_of(self, actor: Actor) -> bool:
        """Whether the actor asked for it."""
        return bool(actor.kind == "person" and actor.id == str(self.asked_by_id))
