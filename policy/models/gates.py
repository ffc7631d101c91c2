"""The tables about gates: whether each mailbox's gate has the recipients that the policy
allows, and which mail the gates refused because of that.
"""

from datetime import timedelta
from typing import Self

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from common.actors import Actor
from mirror.models import Connection, Mailbox
from mirror.models.connections import scoped

# Longer than the two calls of one attempt may take together, so that a row is pushed
# by one worker at a time. Two would do no harm: the gate takes one of two lists that
# were written on the basis of the same version.
PUSH_TIME = timedelta(seconds=90)


class GateListQuerySet(models.QuerySet["GateList"]):
    """Queries for the lists at gates, and the claim of one by a worker. Due times use
    the database's clock.
    """

    def behind(self) -> Self:
        """Those whose gate may lack a change. Uses the index gate_list_to_push."""
        return self.filter(pushed__lt=F("wanted"))

    def to_push(self) -> Self:
        """Those to push to their gate now. Connections without an admin key are left
        out: there only the desk refuses recipients.
        """
        pushable = self.behind().filter(
            next_attempt_at__lte=Now(),
            mailbox__is_active=True,
            mailbox__connection__removed_at=None,
            mailbox__connection__paused_at=None,
        )
        return pushable.exclude(mailbox__connection__admin_key="").order_by(
            "next_attempt_at"
        )

    def claim(self, pk: int) -> "GateList | None":
        """Claim one row for one attempt, and return it; None if it is not due, or
        another worker has claimed it.
        """
        due = self.filter(
            pk__in=self.to_push().values("pk"), next_attempt_at__lte=Now()
        )
        is_claimed = due.filter(pk=pk).update(
            next_attempt_at=Now() + PUSH_TIME, attempts=F("attempts") + 1
        )
        rows = self.select_related("mailbox__connection")
        return rows.get(pk=pk) if is_claimed else None

    def visible_to(self, actor: Actor) -> Self:
        """Those of mailboxes that the actor has a role for."""
        if actor.sees_all():
            return self
        return self.filter(mailbox__in=Mailbox.objects.visible_to(actor))

    def for_page(self) -> Self:
        """With their mailboxes and connections, by mailbox."""
        named = self.select_related("mailbox__connection").filter(
            mailbox__connection__removed_at=None
        )
        return named.order_by("mailbox__address", "mailbox")


class GateList(models.Model):
    """Whether the gate of one mailbox has the recipients that the policy allows.

    Each change of the policy or of a list raises `wanted`. After a push, `pushed` is
    the value of `wanted` that the gate has; if it is less, the gate may lack a change.
    """

    mailbox = models.OneToOneField(
        Mailbox, on_delete=models.CASCADE, related_name="gate_list"
    )
    wanted = models.PositiveIntegerField(default=1)
    pushed = models.PositiveIntegerField(default=0)
    # The version number that the gate gave the list it has.
    gate_version = models.PositiveIntegerField(default=0)
    pushed_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(db_default=Now())
    last_error = models.TextField()

    objects = GateListQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(pushed__lt=F("wanted")),
                name="gate_list_to_push",
            )
        ]

    @property
    def is_behind(self) -> bool:
        """Whether the gate may lack a change."""
        return self.pushed < self.wanted


class GateRefusalQuerySet(models.QuerySet["GateRefusal"]):
    """Queries for mail that gates refused before it was queued."""

    def visible_to(self, actor: Actor) -> Self:
        """Those of connections and mailboxes that the actor has a role for. If the
        mailbox is not known, only people with a role for the whole connection see it.
        """
        if actor.sees_all():
            return self
        connections, mailboxes = scoped(actor)
        return self.filter(Q(connection__in=connections) | Q(mailbox__in=mailboxes))

    def for_page(self, before: int | None) -> Self:
        """Those that were read last first, beginning after the row with the key
        `before`, with names.
        """
        named = self.select_related("connection", "mailbox").order_by("-pk")
        return named.filter(pk__lt=before) if before else named


class GateRefusal(models.Model):
    """Mail that a gate refused because of an allowlist, before it was queued. The gate
    reports neither its body nor its subject.
    """

    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="refusals"
    )
    mailbox = models.ForeignKey(
        Mailbox, null=True, on_delete=models.SET_NULL, related_name="refusals"
    )
    upstream_id = models.CharField(max_length=200)
    recipients = models.JSONField(default=list)
    refused = models.JSONField(default=list)
    rule = models.CharField(max_length=300)
    sent_by_key = models.CharField(max_length=200)
    sent_by_key_name = models.CharField(max_length=200)
    trigger = models.JSONField(default=dict)
    sandbox = models.BooleanField(default=False)
    refused_at = models.DateTimeField()

    objects = GateRefusalQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "upstream_id"], name="gate_refusal_once"
            )
        ]
