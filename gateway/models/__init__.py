"""The gateway's tables with their queries, one file for each subject. Most ids are
ULIDs: opaque, and in order of creation.

Models hold no commands and know nothing of HTTP. Start at `emails.py`.
"""

from gateway.models.accounts import (
    Account,
    ApiKey,
    AuditLogEntry,
    Domain,
    Mailbox,
    Scope,
    hash_key,
)
from gateway.models.codes import ApprovalRequest, Notice, UpgradeRequest
from gateway.models.emails import Attachment, Email, EmailQuerySet, IdempotencyRecord
from gateway.models.recipients import (
    Allowlist,
    AllowlistEntry,
    Contact,
    Refusal,
    Suppression,
)
from gateway.models.webhooks import Webhook, WebhookDelivery
