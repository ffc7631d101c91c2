"""The gateway's own audit log: who did what with which key. (The desk keeps the sealed ledger; this is the API's.)"""

from django.db import models
from django.db.models.functions import Now

from common.identifiers import ulid
from gateway.models.accounts import Account, ApiKey
from gateway.querysets.audit import AuditLogQuerySet


class AuditLogEntry(models.Model):
    """One act. `metadata` holds facts, never bodies."""

    id = models.CharField(primary_key=True, max_length=26, default=ulid, editable=False)
    # The index below begins with it.
    account = models.ForeignKey(Account, models.CASCADE, related_name="+", db_index=False)
    action = models.CharField(max_length=40)
    resource_type = models.CharField(max_length=20)
    resource_id = models.CharField(max_length=40)
    actor_key = models.ForeignKey(ApiKey, models.RESTRICT, null=True, related_name="+")
    metadata = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())

    objects = AuditLogQuerySet.as_manager()

    class Meta:
        indexes = [
            # The log of an account, newest first, by cursor.
            models.Index(fields=["account", "-id"], name="audit_log_of_account"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.resource_id}"
