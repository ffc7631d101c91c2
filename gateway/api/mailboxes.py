"""Mailboxes, and the account with what the calling key may do."""

from typing import Any

from django.http import HttpResponse
from ninja import Router

from gateway.answers.accounts import AccountAnswer, MailboxAnswer, Mailboxes
from gateway.answers.base import answer, documented
from gateway.auth import KeyedRequest, needs
from gateway.lookups import mailbox_named
from gateway.models import ApiKey, Mailbox
from gateway.models.accounts import Scope
from gateway.timestamps import epoch_milliseconds

router = Router(tags=["account"])


@router.get("/mailboxes", auth=needs(Scope.READ), response=documented(Mailboxes))
def list_mailboxes(request: KeyedRequest) -> HttpResponse:
    """List the mailboxes that the key may use."""
    rows = Mailbox.objects.visible_to(request.auth).order_by("id")
    return answer({"mailboxes": [_mailbox(mailbox) for mailbox in rows]})


@router.get("/mailboxes/{mailbox}", auth=needs(Scope.READ), response=documented(MailboxAnswer))
def read_mailbox(request: KeyedRequest, mailbox: str) -> HttpResponse:
    """Read one mailbox."""
    return answer(_mailbox(mailbox_named(request.auth, mailbox)))


@router.get("/account", auth=needs(), response=documented(AccountAnswer))
def read_account(request: KeyedRequest) -> HttpResponse:
    """Read the account. A key without `read` gets only its id, its scopes and its mailboxes."""
    key = request.auth
    mailboxes = [
        {"id": mailbox.pk, "address": mailbox.address, "oversight_mode": mailbox.oversight_mode}
        for mailbox in Mailbox.objects.visible_to(key).order_by("id")
    ]
    told = {"id": key.account_id, "scopes": key.scopes, "mailboxes": mailboxes}
    return answer((_account(key) if key.may(Scope.READ) else {}) | told)


def _account(key: ApiKey) -> dict[str, Any]:
    account = key.account
    facts: dict[str, Any] = {
        "id": account.pk,
        "name": account.name,
        "slug": account.slug,
        "username": account.slug,
        "plan": "self-hosted",
        "oversight_email": account.oversight_email or None,
        "physical_address": None,
        # No quota and no limits of a plan: null means unlimited.
        "monthly_email_quota": None,
        "max_mailboxes": None,
        "max_storage_bytes": None,
        "is_active": account.is_active,
        "sending_disabled": False,
        "sending_disabled_reason": None,
        "created_at": epoch_milliseconds(account.created_at),
    }
    return facts | {"account": facts}


def _mailbox(mailbox: Mailbox) -> dict[str, Any]:
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
        "forward_inbound": 0,
        "ai_disclosure": 0,
        "webhook_url": None,
        "oversight_webhook_url": None,
        "is_active": int(mailbox.is_active),
        "created_at": epoch_milliseconds(mailbox.created_at),
    }
