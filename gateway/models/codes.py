"""One-time codes: what a person confirms before a key may do it."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from common.encryption import EncryptedTextField
from common.identifiers import ulid
from gateway.models.accounts import Account, ApiKey, Mailbox
from gateway.modes import Mode
from gateway.querysets.codes import ApprovalRequestQuerySet, UpgradeRequestQuerySet


class OneTimeCode(models.Model):
    """A code that is good once, for a while, and not for ever to guess at."""

    id = models.CharField(primary_key=True, max_length=26, default=ulid, editable=False)
    code = EncryptedTextField()
    requested_by_key = models.ForeignKey(ApiKey, models.RESTRICT, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    wrong_attempts = models.PositiveIntegerField(default=0)

    class Meta:
        abstract = True


class UpgradeRequest(OneTimeCode):
    """A wish for a looser oversight mode; the code that grants it is shown to admins and used once."""

    mailbox = models.ForeignKey(Mailbox, models.CASCADE, related_name="upgrade_requests")
    target_mode = models.CharField(max_length=12, choices=Mode)

    objects = UpgradeRequestQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(target_mode__in=Mode.values), name="upgrade_mode_known"),
        ]
        indexes = [
            # How many were asked for within the hour, and the newest one.
            models.Index(fields=["mailbox", "-created_at"], name="upgrade_of_mailbox"),
        ]

    def __str__(self) -> str:
        return f"{self.mailbox_id} to {self.target_mode}"


class ApprovalRequest(OneTimeCode):
    """An administrative act that waits for its code, where the operator asks for codes."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    action = models.CharField(max_length=40)
    # Of what was asked for, so that a code approves this very act and no other.
    digest = models.CharField(max_length=64)
    summary = models.CharField(max_length=300)

    objects = ApprovalRequestQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["account", "action", "-created_at"], name="approval_of_account"),
        ]

    def __str__(self) -> str:
        return self.summary
