"""Makes, changes and revokes API keys. No key can make or reach one with more mailboxes
than its own.
"""

import secrets
from collections.abc import Collection
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from gateway import auditing
from gateway.errors import Conflict, Forbidden, Invalid, NotFound
from gateway.lookups import first_or_404, mailbox_named
from gateway.models import Account, ApiKey, Mailbox, Scope, hash_key

LIVE_PREFIX = "mm_live_"
SANDBOX_PREFIX = "mm_test_"


def key_named(key: ApiKey, key_id: str) -> ApiKey:
    """Return the key with this id, as far as `key` may look after it. Raises NotFound."""
    return first_or_404(ApiKey.objects.manageable_by(key).filter(pk=key_id), "API key")


def create_key(
    *,
    key: ApiKey,
    name: str,
    scopes: list[str],
    mailboxes: list[str] | None,
    sandbox: bool | None,
) -> tuple[ApiKey, str]:
    """Make a key and return it with its text, which is not stored. Raises NotFound for
    a mailbox, or Forbidden.
    """
    sandbox = key.sandbox if sandbox is None else sandbox
    if key.sandbox and not sandbox:
        raise Forbidden("A sandbox key can only make sandbox keys.", code="sandbox_key")
    return _make_key(
        key.account, name, scopes, _limits(key, mailboxes), sandbox, key=key
    )


def make_operator_key(
    *,
    account: Account,
    name: str,
    scopes: list[str],
    addresses: list[str],
    sandbox: bool,
) -> tuple[ApiKey, str]:
    """Make a key on the operator's word and return it with its text. Raises NotFound
    for an address.
    """
    found = {
        mailbox.address: mailbox.pk
        for mailbox in Mailbox.objects.filter(account=account, is_active=True)
    }
    if unknown := [address for address in addresses if address.lower() not in found]:
        raise NotFound(
            f"The account has no mailbox {unknown[0]}.", code="unknown_mailbox"
        )
    limits = list(dict.fromkeys(found[address.lower()] for address in addresses))
    return _make_key(account, name, scopes, limits, sandbox, by="operator")


def _make_key(
    account: Account,
    name: str,
    scopes: list[str],
    mailbox_ids: list[str],
    sandbox: bool,
    **facts: Any,
) -> tuple[ApiKey, str]:
    text = new_key_text(sandbox=sandbox)
    with transaction.atomic():
        made = register_key(
            account=account,
            name=name,
            scopes=scopes,
            text=text,
            mailbox_ids=mailbox_ids,
        )
        auditing.record(
            "api_key.created",
            made,
            scopes=scopes,
            mailboxes=mailbox_ids,
            sandbox=sandbox,
            **facts,
        )
    made.refresh_from_db(fields=["created_at"])
    return made, text


def change_key(*, key: ApiKey, changed: ApiKey, changes: dict[str, Any]) -> ApiKey:
    """Change name, scopes or mailboxes of a key, or pause it. Raises Conflict for a
    revoked one and the last admin.
    """
    fields = {
        name: value
        for name, value in changes.items()
        if name not in ("mailboxes", "paused")
    }
    if "mailboxes" in changes:
        fields["mailbox_ids"] = _limits(key, changes["mailboxes"])
    with transaction.atomic():
        changed = _locked(changed)
        if changed.revoked_at is not None:
            raise Conflict(
                "This key is revoked for good. Create a new one.", code="revoked"
            )
        if Scope.ADMIN not in fields.get("scopes", [Scope.ADMIN]) or fields.get(
            "mailbox_ids"
        ):
            _check_another_admin(changed)
        facts = {name: value for name, value in fields.items() if name != "name"}
        if "paused" in changes:
            # Paused again it keeps its moment.
            fields["paused_at"] = (
                (changed.paused_at or timezone.now()) if changes["paused"] else None
            )
            facts["paused"] = changes["paused"]
        changed.save_fields(**fields)
        auditing.record("api_key.updated", changed, key=key, **facts)
    return changed


@transaction.atomic
def revoke_key(*, key: ApiKey, revoked: ApiKey) -> None:
    """Revoke a key at once; a key may revoke itself. Twice is no error. Raises Conflict
    for the last admin.
    """
    revoked = _locked(revoked)
    if revoked.revoked_at is not None:
        return
    _check_another_admin(revoked)
    revoked.save_fields(revoked_at=timezone.now())
    auditing.record("api_key.revoked", revoked, key=key)


def needs_approval_code(
    key: ApiKey, scopes: Collection[str], *, before: Collection[str] = ()
) -> bool:
    """Whether a person confirms that `key` makes a key with `scopes`, or gives them to
    one that had `before`.

    That is so for every key that decides, unless the operator switched it off
    (GATEWAY_OVERSIGHT_CODES); and always where a key that sends would get at one by
    which it could let its own mail go.
    """

    def judges(scopes: Collection[str]) -> bool:
        """Whether it decides, or administers without sending itself: it sees codes and
        loosens mailboxes.
        """
        return Scope.OVERSIGHT in scopes or (
            Scope.ADMIN in scopes and Scope.SEND not in scopes
        )

    decides = Scope.OVERSIGHT in scopes and Scope.OVERSIGHT not in before
    frees_sender = key.may(Scope.SEND) and judges(scopes) and not judges(before)
    return frees_sender or (decides and settings.GATEWAY_OVERSIGHT_CODES)


def _limits(key: ApiKey, names: list[str] | None) -> list[str]:
    """Return the ids of the mailboxes named; none of them: all. Names that `key` itself
    cannot see are not found.
    """
    if names is None:
        if key.mailbox_ids:
            raise Invalid(
                "mailboxes: this key is limited to some mailboxes, so list those of the new key.",
                field="mailboxes",
            )
        return []
    return list(dict.fromkeys(mailbox_named(key, name).pk for name in names))


def _locked(key: ApiKey) -> ApiKey:
    # The account is locked, so that the count of admins stays right until the change is
    # stored.
    Account.locked(key.account_id)
    return ApiKey.objects.get(pk=key.pk)


def _check_another_admin(key: ApiKey) -> None:
    """Refuse to remove the last admin key: nobody could make a new one."""
    admins = ApiKey.objects.filter(account_id=key.account_id).account_admins()
    if list(admins[:2]) == [key]:
        raise Conflict(
            "This is the last key that can administer the whole account. Create another one first.",
            code="last_admin",
        )


def new_key_text(*, sandbox: bool = False) -> str:
    """Return the text of a new key."""
    return (SANDBOX_PREFIX if sandbox else LIVE_PREFIX) + secrets.token_hex(20)


@transaction.atomic
def register_key(
    *,
    account: Account,
    name: str,
    scopes: list[str],
    text: str,
    mailbox_ids: list[str] | None = None,
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
    return ApiKey.objects.get_or_create(sha256=hash_key(text), defaults=defaults)[0]
