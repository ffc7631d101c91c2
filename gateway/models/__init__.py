"""The gateway's tables. Ids are ULIDs: opaque to clients, and in order of creation."""

from gateway.models.accounts import Account, ApiKey, Mailbox
from gateway.models.audit import AuditLogEntry
from gateway.models.emails import Attachment, Email, IdempotencyRecord
from gateway.models.webhooks import Webhook, WebhookDelivery

__all__ = [
    "Account",
    "ApiKey",
    "Attachment",
    "AuditLogEntry",
    "Email",
    "IdempotencyRecord",
    "Mailbox",
    "Webhook",
    "WebhookDelivery",
]
