"""Allowlists of a mailbox, and the refusals that they led to."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from common.identifiers import ulid
from gateway.models.accounts import Account, ApiKey, Mailbox
from gateway.querysets.allowlists import MailboxAllowlistQuerySet, MailRefusalQuerySet


class Allowlist(models.Model):
    """One list of one mailbox. A restriction refuses who is not on it; a bypass lets who is on it skip the queue."""

    class Kind(models.TextChoices):
        RESTRICTION = "restriction"
        BYPASS = "bypass"

    class Mode(models.TextChoices):
        OFF = "off"
        MONITOR = "monitor"
        ENFORCE = "enforce"
        CONTACTS = "contacts"

    mailbox = models.ForeignKey(Mailbox, models.CASCADE, related_name="allowlists")
    kind = models.CharField(max_length=12, choices=Kind)
    mode = models.CharField(max_length=8, choices=Mode, default=Mode.OFF)
    # Raised by each change: who writes on the strength of an older one is refused.
    version = models.PositiveIntegerField(default=0)
    updated_at = models.DateTimeField(null=True)

    objects = MailboxAllowlistQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["mailbox", "kind"], name="allowlist_kind_once_a_mailbox"),
            models.CheckConstraint(condition=Q(kind__in=["restriction", "bypass"]), name="allowlist_kind_known"),
            models.CheckConstraint(
                condition=Q(mode__in=["off", "monitor", "enforce", "contacts"]), name="allowlist_mode_known"
            ),
            models.CheckConstraint(
                condition=~Q(kind="bypass", mode="contacts"), name="allowlist_contacts_only_restricts"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.mailbox_id}"


class AllowlistEntry(models.Model):
    """Whom a list names: `name@domain`, `domain`, or `*.domain` for subdomains."""

    allowlist = models.ForeignKey(Allowlist, models.CASCADE, related_name="entries")
    pattern = models.CharField(max_length=254)
    expires_at = models.DateTimeField(null=True)
    note = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["allowlist", "pattern"], name="allowlist_pattern_once"),
        ]

    def __str__(self) -> str:
        return self.pattern


class Refusal(models.Model):
    """A message that a restriction kept out before anything was queued. It has no body and no subject."""

    id = models.CharField(primary_key=True, max_length=26, default=ulid, editable=False)
    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    mailbox = models.ForeignKey(Mailbox, models.CASCADE, related_name="+")
    key = models.ForeignKey(ApiKey, models.RESTRICT, related_name="+")
    sandbox = models.BooleanField()
    recipients = ArrayField(models.CharField(max_length=254))
    refused = ArrayField(models.CharField(max_length=254))
    rule = models.CharField(max_length=300)
    metadata = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())

    objects = MailRefusalQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["account", "-id"], name="refusal_of_account"),
        ]

    def __str__(self) -> str:
        return f"{self.mailbox_id}: {self.rule}"
