"""Makes accounts, mailboxes and keys. A key's text exists only here and with whoever asked for it."""

import secrets

from django.db import transaction
from django.utils import timezone

from common.mail_addresses import clean_address, domain_of
from gateway.auth import SANDBOX_PREFIX, hash_key
from gateway.models import Account, ApiKey, Domain, Mailbox
from gateway.modes import Mode

LIVE_PREFIX = "mm_live_"


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
    # Who may run commands is the operator, whose word is proof enough that the domain is the account's.
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
