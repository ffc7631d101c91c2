"""Writes the gateway's audit log, always in the transaction of the act itself."""

from typing import Any

from gateway.models import ApiKey, AuditLogEntry, Email


def note(action: str, *, email: Email, key: ApiKey | None = None, **facts: Any) -> None:
    """Record an act on an email; `facts` never hold text that a person wrote, but for a decision's reason."""
    AuditLogEntry.objects.create(
        account_id=email.account_id,
        action=action,
        resource_type="email",
        resource_id=email.pk,
        actor_key=key,
        metadata={"mailbox_id": email.mailbox_id, "status": email.status, **facts},
    )


def note_thing(
    action: str, *, account_id: str, kind: str, thing_id: str, key: ApiKey | None = None, **facts: Any
) -> None:
    """Record an act on anything else: `kind` is webhook, mailbox, api_key, domain, allowlist and so on."""
    AuditLogEntry.objects.create(
        account_id=account_id,
        action=action,
        resource_type=kind,
        resource_id=thing_id[:40],
        actor_key=key,
        metadata=facts,
    )
