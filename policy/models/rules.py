"""The versions of the rules, the groups that they name, and the owners of API keys."""

from typing import Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Now

from mirror.models import Connection


class KeyOwner(models.Model):
    """The owner of the program with an API key; that person may not approve what it
    sends.
    """

    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="key_owners"
    )
    upstream_key_id = models.CharField(max_length=200)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "upstream_key_id"], name="key_owner_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.upstream_key_id} of {self.person}"


class Group(models.Model):
    """People whose approval a rule can ask for, or who may not give it."""

    name = models.CharField(max_length=60)
    members = models.ManyToManyField(
        settings.AUTH_USER_MODEL, related_name="policy_groups", blank=True
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(Lower("name"), name="policy_group_name_once")
        ]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class PolicyVersionQuerySet(models.QuerySet["PolicyVersion"]):
    """Reads of the versions of the rules."""

    def active(self) -> Self:
        """The one in force, if any."""
        return self.filter(state="active")

    def draft(self) -> Self:
        """The one that is being written, if any."""
        return self.filter(state="draft")

    def activated(self) -> Self:
        """Those that are or were active, the newest first, with who wrote and activated
        them.
        """
        named = self.exclude(state="draft").select_related("author", "activated_by")
        return named.order_by("-activated_at", "-number")


class PolicyVersion(models.Model):
    """One version of the rules: a draft that can still be changed, the active one, or
    one that was.

    A trigger keeps number and rules as they are once it is no draft. Without an active
    version one approval of any reviewer is needed.
    """

    class State(models.TextChoices):
        DRAFT = "draft", "Draft"
        ACTIVE = "active", "Active"
        RETIRED = "retired", "Retired"

    number = models.PositiveIntegerField(unique=True)
    state = models.CharField(max_length=7, choices=State, default=State.DRAFT)
    # As `PolicyRule.as_json` writes them, in their order.
    rules = models.JSONField(default=list)
    # The number of the version that it was begun from; 0 for none.
    based_on = models.PositiveIntegerField(default=0)
    # Raised by each change of a draft: a form that saw another number is refused.
    edits = models.PositiveIntegerField(default=0)
    note = models.TextField(blank=True)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    created_at = models.DateTimeField(db_default=Now())
    changed_at = models.DateTimeField(db_default=Now())
    activated_at = models.DateTimeField(null=True, blank=True)
    activated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
    )
    retired_at = models.DateTimeField(null=True, blank=True)

    objects = PolicyVersionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["draft", "active", "retired"]),
                name="policy_version_state_known",
            ),
            models.UniqueConstraint(
                fields=["state"],
                condition=Q(state="active"),
                name="policy_version_one_active",
            ),
            models.UniqueConstraint(
                fields=["state"],
                condition=Q(state="draft"),
                name="policy_version_one_draft",
            ),
            models.CheckConstraint(
                condition=Q(state="draft") | Q(activated_at__isnull=False),
                name="policy_version_activated",
            ),
        ]

    def __str__(self) -> str:
        return f"version {self.number}"
