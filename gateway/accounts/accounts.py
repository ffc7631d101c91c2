"""Makes, changes and closes accounts. `hold_all` stops all mail of an account, and is a change like any other."""

import secrets
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from common.mail_addresses import clean_address, domain_of
from common.nudge import nudge
from gateway import auditing
from gateway.auth import SANDBOX_PREFIX, hash_key
from gateway.errors import Forbidden
from gateway.models import Account, ApiKey, Domain, Email, Mailbox
from gateway.states import Mode

# How many messages are enqueued when hold_all ends; the sweep finds the rest.
_BATCH = 200
LIVE_PREFIX = "mm_live_"


def change_account(*, key: ApiKey, changes: dict[str, Any], hold_all: bool | None, now: datetime) -> Account:
    """Change fields of the key's account, and switch `hold_all` when it is given. Raises Forbidden."""
    if hold_all is not None and key.sandbox:
        raise Forbidden("A sandbox key cannot stop or release live mail.", code="sandbox_key")
    with transaction.atomic():
        account = Account.objects.select_for_update(no_key=True).get(pk=key.account_id)
        for name, value in changes.items():
            setattr(account, name, value)
        if changes:
            account.save(update_fields=list(changes))
            auditing.record("account.updated", account, key=key, fields=sorted(changes))
        if hold_all is not None:
            _hold_all(key, account, hold_all, now)
    return account


def close_account(*, key: ApiKey) -> None:
    """Close the key's account for good: no key works any more, and nothing leaves. Raises Forbidden."""
    if key.sandbox:
        raise Forbidden("A sandbox key cannot delete the account.", code="sandbox_key")
    with transaction.atomic():
        Account.objects.filter(pk=key.account_id).update(is_active=False)
        # The addresses stay taken, but another account may verify the domain.
        Domain.objects.active().filter(account_id=key.account_id).update(status=Domain.Status.PENDING)
        auditing.record("account.deleted", key.account, key=key)


def _hold_all(key: ApiKey, account: Account, on: bool, now: datetime) -> None:
    """Switch it. Setting it again takes the new moment: what was approved in between is held, too."""
    was_on = account.hold_all_at is not None
    account.hold_all_at = now if on else None
    account.save(update_fields=["hold_all_at"])
    if on or was_on:
        auditing.record(f"account.hold_all_{'on' if on else 'off'}", account, key=key)
    if was_on and not on:
        due = Email.objects.in_outbox().filter(account=account).order_by("due_at")
        for email_id in due.values_list("pk", flat=True)[:_BATCH]:
            nudge("gateway.tasks.send_email", email_id)


def new_key_text(*, sandbox: bool = False) -> str:
    """Return the text of a new key."""
    return (SANDBOX_PREFIX if sandbox else LIVE_PREFIX) + secrets.token_hex(20)


def make_account(*, name: str, slug: str, oversight_email: str = "") -> Account:
    """Return the account with this slug, made if there is none."""
    return Account.objects.get_or_create(slug=slug, defaults={"name": name, "oversight_email": oversight_email})[0]


def make_mailbox(
    *, account: Account, address: str, display_name: str, mode: Mode = Mode.GATED_SEND, looser: bool = False
) -> Mailbox:
    """Return the account's mailbox of this address, made if there is none."""
    defaults = {
        "account": account,
        "display_name": display_name,
        "oversight_mode": mode,
        "allow_looser_per_call": looser,
        "mcp_configured": True,
    }
    address = clean_address(address).lower()
    # Only operators run commands, so the domain needs no proof.
    Domain.objects.get_or_create(
        domain=domain_of(address),
        status=Domain.Status.ACTIVE,
        defaults={"account": account, "token": secrets.token_hex(16), "verified_at": timezone.now()},
    )
    return Mailbox.objects.get_or_create(address=address, defaults=defaults)[0]


def register_key(
    *, account: Account, name: str, scopes: list[str], text: str, mailbox_ids: list[str] | None = None
) -> ApiKey:
    """Return the key of this text, made if there is none."""
    defaults = {
        "account": account,
        "name": name,
        "scopes": scopes,
        "prefix": f"{text[:11]}...",
        "sandbox": text.startswith(SANDBOX_PREFIX),
        "mailbox_ids": mailbox_ids or [],
    }
    with transaction.atomic():
        return ApiKey.objects.get_or_create(sha256=hash_key(text), defaults=defaults)[0]
