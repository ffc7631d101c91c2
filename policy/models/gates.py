"""What the gates have of the allowlists, and what they refused because of them."""

from datetime import timedelta
from typing import Self

from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Now

from common.actors import Actor
from mirror.models import Connection, Mailbox
from mirror.models.connections import scoped
from policy.models.allowlists import Allowlist

# Longer than the time limits of both calls of one attempt, so that only a dead worker's
# row is claimed again.
PUSH_LEASE = timedelta(seconds=90)


class GateListQuerySet(models.QuerySet["GateList"]):
    """Reads and claims of what the gates have; due times and leases use the database's
    clock.
    """

    def behind(self) -> Self:
        """Those whose gate does not have what it should (relies on gate_list_to_push)."""
        return self.filter(pushed__lt=F("wanted"))

    def to_push(self) -> Self:
        """Those to push to their gate now; without an admin key only the desk enforces
        the list.
        """
        due = self.behind().unleased().filter(next_attempt_at__lte=Now())
        there = due.filter(
            mailbox__is_active=True,
            mailbox__connection__removed_at=None,
            mailbox__connection__paused_at=None,
        ).exclude(mailbox__connection__admin_key="")
        return there.order_by("next_attempt_at")

    def unleased(self) -> Self:
        """Those that no worker has claimed, or whose worker died."""
        return self.filter(Q(lease_until=None) | Q(lease_until__lt=Now()))

    def claim(self, pk: int) -> "GateList | None":
        """Claim one for one attempt; None when it is not due, or somebody else has
        claimed it.
        """
        mine = self.filter(
            pk__in=self.to_push().filter(pk=pk).values("pk"), pushed__lt=F("wanted")
        )
        if not mine.unleased().update(
            lease_until=Now() + PUSH_LEASE, attempts=F("attempts") + 1
        ):
            return None
        return self.select_related("mailbox__connection").get(pk=pk)

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
        return named.order_by("mailbox__address", "mailbox", "-kind")

    def of_list(self, at: Allowlist) -> Self:
        """Those that a list is part of."""
        mine = self.filter(kind=at.kind)
        if at.mailbox_id is not None:
            return mine.filter(mailbox=at.mailbox_id)
        if at.connection_id is not None:
            return mine.filter(mailbox__connection=at.connection_id)
        return mine

    def ensure(self) -> None:
        """Give a row to each mailbox that a list concerns and that has none yet, as new
        ones do.
        """
        for kind in Allowlist.Kind.values:
            lists = Allowlist.objects.filter(kind=kind, version__gt=0)
            everybody = Q(connection=None, mailbox=None)
            one = Q(connection=OuterRef("connection")) | Q(mailbox=OuterRef("pk"))
            concerned = Mailbox.objects.filter(Exists(lists.filter(everybody | one)))
            missing = concerned.exclude(gate_lists__kind=kind)
            rows = [GateList(mailbox=mailbox, kind=kind) for mailbox in missing]
            self.bulk_create(rows, ignore_conflicts=True)


class GateList(models.Model):
    """What the gate of one mailbox has of its lists of one kind, and what it should
    have.

    `wanted` is raised by each change that concerns the mailbox; where `pushed` is less,
    the gate does not have it yet.
    """

    mailbox = models.ForeignKey(
        Mailbox, on_delete=models.CASCADE, related_name="gate_lists"
    )
    kind = models.CharField(max_length=12, choices=Allowlist.Kind)
    wanted = models.PositiveIntegerField(default=1)
    pushed = models.PositiveIntegerField(default=0)
    # The gate's own number of what it has.
    gate_version = models.PositiveIntegerField(default=0)
    pushed_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(db_default=Now())
    lease_until = models.DateTimeField(null=True)
    last_error = models.TextField()

    objects = GateListQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["mailbox", "kind"], name="gate_list_once")
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(pushed__lt=F("wanted")),
                name="gate_list_to_push",
            )
        ]


class GateRefusalQuerySet(models.QuerySet["GateRefusal"]):
    """What was refused before anything was queued."""

    def visible_to(self, actor: Actor) -> Self:
        """Of what the actor has a role for; where the mailbox is not known, for the
        whole connection.
        """
        if actor.sees_all():
            return self
        connections, mailboxes = scoped(actor)
        return self.filter(Q(connection__in=connections) | Q(mailbox__in=mailboxes))

    def for_page(self, before: int | None) -> Self:
        """Newest first from behind the row `before` on, with names (relies on
        gate_refusal_newest).
        """
        named = self.select_related("connection", "mailbox").order_by(
            "-refused_at", "-id"
        )
        last = self.filter(pk=before).first() if before else None
        if last is None:
            return named
        earlier = Q(refused_at__lt=last.refused_at)
        return named.filter(earlier | Q(refused_at=last.refused_at, pk__lt=last.pk))


class GateRefusal(models.Model):
    """Mail that the gate refused before anything was queued, because of an allowlist.
    It has no body and no subject.
    """

    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="refusals"
    )
    mailbox = models.ForeignKey(
        Mailbox,
        null=True,
        on_delete=models.SET_NULL,
        related_name="refusals",
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
        indexes = [
            models.Index(fields=["-refused_at", "-id"], name="gate_refusal_newest")
        ]
