"""The gateway's tables. Ids are ULIDs: opaque to clients, and in order of creation."""

from gateway.models.accounts import Account, ApiKey, Mailbox
from gateway.models.allowlists import Allowlist, AllowlistEntry, Refusal
from gateway.models.audit import AuditLogEntry
from gateway.models.codes import ApprovalRequest, UpgradeRequest
from gateway.models.domains import DkimKey, Domain
from gateway.models.emails import Attachment, Email, IdempotencyRecord
from gateway.models.recipients import Contact, Suppression
from gateway.models.signups import Signup
from gateway.models.usage import UsageDay
from gateway.models.webhooks import Webhook, WebhookDelivery

__all__ = [
    "Account",
    "Allowlist",
    "AllowlistEntry",
    "ApiKey",
    "ApprovalRequest",
    "Attachment",
    "AuditLogEntry",
    "Contact",
    "DkimKey",
    "Domain",
    "Email",
    "IdempotencyRecord",
    "Mailbox",
    "Refusal",
    "Signup",
    "Suppression",
    "UpgradeRequest",
    "UsageDay",
    "Webhook",
    "WebhookDelivery",
]
