"""Accounts, mailboxes and keys as clients see them; no key's text and no code is ever in them."""

from datetime import datetime
from typing import Any

from gateway.models import Account, ApiKey, Email, Mailbox, UpgradeRequest
from gateway.timestamps import epoch_milliseconds, iso
from gateway.usage import emails_sent_this_month

_PLAN = "self-hosted"


def account_facts(account: Account, *, now: datetime) -> dict[str, Any]:
    """Return an account under the names that all clients read: at the top, and once more nested."""
    sent = emails_sent_this_month(account, now=now)
    quota = account.monthly_email_quota
    facts = _account(account) | {
        "emails_sent_this_month": sent,
        "emails_remaining_this_month": None if quota is None else max(0, quota - sent),
        "storage_used_bytes": Email.objects.attached_bytes(account_id=account.pk),
    }
    return facts | {"account": facts}


def plan_facts(account: Account) -> dict[str, Any]:
    """Return what the account may use and what it uses, as reports of usage tell it. Null: no limit."""
    return {
        "plan": _PLAN,
        "monthly_email_quota": account.monthly_email_quota,
        "max_mailboxes": account.max_mailboxes,
        "storage_used_bytes": Email.objects.attached_bytes(account_id=account.pk),
        "max_storage_bytes": None,
    }


def _account(account: Account) -> dict[str, Any]:
    return {
        "id": account.pk,
        "name": account.name,
        "slug": account.slug,
        "username": account.slug,
        "plan": _PLAN,
        # Nothing is enforced here by how mail was received: limits are the operator's.
        "enforcement_tier": "none",
        "sending_enabled": account.is_active,
        "oversight_email": account.oversight_email or None,
        "physical_address": account.physical_address or None,
        # Null: no limit.
        "monthly_email_quota": account.monthly_email_quota,
        "max_mailboxes": account.max_mailboxes,
        "max_storage_bytes": None,
        "is_active": account.is_active,
        "hold_all": account.hold_all_at is not None,
        "hold_all_at": iso(account.hold_all_at),
        "sending_disabled": False,
        "sending_disabled_reason": None,
        "created_at": epoch_milliseconds(account.created_at),
    }


def mailbox_facts(mailbox: Mailbox) -> dict[str, Any]:
    """Return a mailbox; switches are 0 and 1."""
    return {
        "id": mailbox.pk,
        "tenant_id": mailbox.account_id,
        "address": mailbox.address,
        "display_name": mailbox.display_name,
        "oversight_mode": mailbox.oversight_mode,
        "allow_looser_per_call": mailbox.allow_looser_per_call,
        "auto_cc": mailbox.auto_cc or None,
        "auto_bcc": mailbox.auto_bcc or None,
        "signature_block": mailbox.signature_block or None,
        "default_gate_timing": mailbox.default_gate_timing,
        "scheduling_enabled": int(mailbox.scheduling_enabled),
        "mcp_configured": int(mailbox.mcp_configured),
        "forward_inbound": int(mailbox.forward_inbound),
        "ai_disclosure": int(mailbox.ai_disclosure),
        "webhook_url": None,
        "oversight_webhook_url": None,
        "is_active": int(mailbox.is_active),
        "created_at": epoch_milliseconds(mailbox.created_at),
    }


def key_facts(key: ApiKey) -> dict[str, Any]:
    """Return a key; `mailboxes` null: all of them."""
    return {
        "id": key.pk,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": key.scopes,
        "mailboxes": key.mailbox_ids or None,
        "sandbox": key.sandbox,
        "created_at": iso(key.created_at),
        "last_used_at": iso(key.last_used_at),
        "revoked_at": iso(key.revoked_at),
        "is_active": key.revoked_at is None,
    }


def upgrade_facts(request: UpgradeRequest) -> dict[str, Any]:
    """Return a wish for a looser mode, without its code."""
    return {
        "id": request.pk,
        "mailbox_id": request.mailbox_id,
        "target_mode": request.target_mode,
        "created_at": iso(request.created_at),
        "expires_at": iso(request.expires_at),
    }
