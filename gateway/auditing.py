"""Writes the gateway's audit log, always in the transaction of the act itself."""

from typing import Any

from django.db.models import Model

from gateway.models import (
    Account,
    Allowlist,
    ApiKey,
    ApprovalRequest,
    AuditLogEntry,
    Contact,
    Domain,
    Email,
    Mailbox,
    Suppression,
    Webhook,
    WebhookDelivery,
)

_RESOURCE_TYPES: dict[type[Model], str] = {
    Account: "account",
    Allowlist: "allowlist",
    ApiKey: "api_key",
    ApprovalRequest: "approval",
    Contact: "contact",
    Domain: "domain",
    Email: "email",
    Mailbox: "mailbox",
    Suppression: "suppression",
    Webhook: "webhook",
    WebhookDelivery: "webhook_delivery",
}


def record(action: str, about: Any, *, key: ApiKey | None = None, **facts: Any) -> None:
    """Record an act on `about`, a row. `facts` never hold text that a person wrote, except a decision's reason."""
    if isinstance(about, Email):
        facts = {"mailbox_id": about.mailbox_id, "status": about.status, **facts}
    elif isinstance(about, Mailbox):
        facts["mailbox_id"] = about.pk
    elif isinstance(about, Domain):
        facts["domain"] = about.domain
    AuditLogEntry.objects.create(
        account_id=key.account_id if key else getattr(about, "account_id", about.pk),
        action=action,
        resource_type=_RESOURCE_TYPES[type(about)],
        # An allowlist is known by its mailbox.
        resource_id=about.mailbox_id if isinstance(about, Allowlist) else about.pk,
        actor_key=key,
        metadata=facts,
    )
