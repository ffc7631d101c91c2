"""Whom an account writes to: its contacts, and addresses that get nothing any more."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from common.identifiers import ulid
from gateway.models.accounts import Account, Mailbox
from gateway.querysets.recipients import MailContactQuerySet, SuppressionQuerySet


class Contact(models.Model):
    """Somebody the account knows. `email` is kept as addresses are compared: lower case, domain in ASCII."""

    id = models.CharField(primary_key=True, max_length=26, default=ulid, editable=False)
    account = models.ForeignKey(Account, models.CASCADE, related_name="contacts")
    mailbox = models.ForeignKey(Mailbox, models.CASCADE, null=True, related_name="+")
    name = models.CharField(max_length=200)
    email = models.CharField(max_length=254)
    tags = ArrayField(models.CharField(max_length=100), default=list)
    created_at = models.DateTimeField(db_default=Now())

    objects = MailContactQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "email"], name="contact_once_an_account"),
        ]

    def __str__(self) -> str:
        return self.email


class Suppression(models.Model):
    """An address that bounced or complained: nothing is sent to it until somebody takes it off."""

    class Reason(models.TextChoices):
        BOUNCE = "bounce"
        COMPLAINT = "complaint"
        MANUAL = "manual"

    id = models.CharField(primary_key=True, max_length=26, default=ulid, editable=False)
    account = models.ForeignKey(Account, models.CASCADE, related_name="suppressions")
    mailbox = models.ForeignKey(Mailbox, models.CASCADE, null=True, related_name="+")
    email_address = models.CharField(max_length=254)
    reason = models.CharField(max_length=12, choices=Reason)
    created_at = models.DateTimeField(db_default=Now())

    objects = SuppressionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "email_address"], name="suppression_once_an_account"),
            models.CheckConstraint(
                condition=Q(reason__in=["bounce", "complaint", "manual"]), name="suppression_reason_known"
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="suppression_of_account"),
        ]

    def __str__(self) -> str:
        return self.email_address
