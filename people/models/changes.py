"""The models of the organisation's settings, and of the changes that wait for a second
admin.
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
from common.postgres import one_of
from mirror.models import ScopeModel

# How long a change can be accepted after somebody asked for it.
WAITS_FOR = timedelta(days=7)


class OrganisationSettings(models.Model):
    """The settings of the whole organisation, in one row. There is no row until
    something was set.
    """

    # Since when changes that loosen something wait for a second admin; null: they do
    # not.
    second_admin_since = models.DateTimeField(null=True)
    second_admin_set_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    # Since when figures of single people are shown to admins and auditors; null: they
    # are not. `person_figures_because` is the law or agreement that allows it, as the
    # admin named it.
    person_figures_since = models.DateTimeField(null=True)
    person_figures_set_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    person_figures_because = models.CharField(
        max_length=1000, default="", db_default=""
    )
    # Whether mails to people name the subjects of messages, and who sends them.
    mails_name_subjects = models.BooleanField(default=True, db_default=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(pk=1), name="organisation_settings_once")
        ]


class PendingChangeQuerySet(models.QuerySet["PendingChange"]):
    """Queries of changes that wait for a second admin. The database's clock decides
    whether a change has expired.
    """

    def waiting(self) -> Self:
        """Changes that can still be accepted."""
        return self.filter(state="waiting", expires_at__gt=Now())

    def visible_to(self, actor: Actor) -> Self:
        """Changes of targets that the actor is an admin of, and changes that the actor
        asked for.
        """
        visible = _within(actor.acting_as(Role.ADMIN).scopes)
        if actor.kind == "person" and actor.id.isdecimal():
            visible |= Q(asked_by=actor.person_id)
        return self.filter(visible)

    def for_admin(self, actor: Actor) -> Self:
        """Changes that can still be accepted, of targets that the actor is an admin
        of.
        """
        return self.waiting().filter(_within(actor.acting_as(Role.ADMIN).scopes))

    def at(self, page: str, *args: object) -> Self:
        """Changes that wait and are shown on this page, oldest first, with who asked
        for them.
        """
        waiting_here = self.waiting().filter(url=reverse(page, args=args))
        return waiting_here.select_related("asked_by").order_by("pk")

    def for_page(self) -> Self:
        """All of them with the people whom the page names, newest first."""
        return self.select_related("asked_by", "ended_by").order_by("-pk")


def _within(scopes: Iterable[Scope]) -> Q:
    """Return the condition for rows whose target is wholly within one of these
    scopes.
    """
    condition = Q(pk=None)
    for scope in scopes:
        if scope.is_everywhere:
            # Not an empty Q, which has no effect in a combination by OR.
            return Q(pk__isnull=False)
        if scope.mailbox is not None:
            condition |= Q(mailbox=scope.mailbox)
        else:
            condition |= Q(connection=scope.connection)
            condition |= Q(mailbox__connection=scope.connection)
    return condition


class PendingChange(ScopeModel):
    """A change of policy that one admin asked for, and that takes effect once a second
    admin accepts it.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        ACCEPTED = "accepted", "Accepted"
        DECLINED = "declined", "Declined"
        WITHDRAWN = "withdrawn", "Withdrawn"
        REFUSED = "refused", "No longer possible"

    # The name of the command that is called once the change is accepted.
    command = models.CharField(max_length=60)
    # The keys of the people whom it concerns, who cannot accept it.
    subjects = models.JSONField(default=list)
    title = models.CharField(max_length=400)
    before = models.TextField()
    after = models.TextField()
    # The address of the page on which the change is made.
    url = models.CharField(max_length=200)
    # `arguments`: those of the command. `seen`: a fingerprint of what the change is
    # based on. `secret`, encrypted: arguments that are secrets; once the change was
    # accepted, the secret that the command made, for whoever asked. `second_half`,
    # encrypted: the half of a link that is for whoever accepted it.
    change = models.JSONField()
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    asked_at = models.DateTimeField(db_default=Now())
    reason = models.TextField()
    expires_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    # Until when it is reserved for the request that carries it out by calling
    # MultiMail.
    lease_until = models.DateTimeField(null=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    ended_at = models.DateTimeField(null=True)
    # Why it was declined or is no longer possible, or why the last try to carry it out
    # did not finish.
    outcome = models.TextField()

    objects = PendingChangeQuerySet.as_manager()

    class Meta:
        constraints = [
            one_of(
                "state",
                ["waiting", "accepted", "declined", "withdrawn", "refused"],
                "pending_change_state_known",
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
        # Admins' pages show how many changes wait; nearly always there are none.
        indexes = [
            models.Index(
                fields=["expires_at"],
                condition=Q(state="waiting"),
                name="pending_change_waiting",
            )
        ]

    def __str__(self) -> str:
        return self.title

    def secret_for(self, actor: Actor) -> str:
        """Return the name, in `change`, of the secret that it made for the actor; empty
        if it made none, or it was shown.
        """
        name = "secret" if self.is_of(actor) else "second_half"
        is_its_person = self.is_of(actor) or actor.id == str(self.ended_by_id)
        is_there = self.state == self.State.ACCEPTED and name in self.change
        return name if is_its_person and is_there else ""

    def is_of(self, actor: Actor) -> bool:
        """Whether the actor asked for it."""
        return actor.kind == "person" and actor.id == str(self.asked_by_id)
