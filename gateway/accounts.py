"""Accounts and their API keys: the commands that make, change and end them, and the acts that
a person confirms by a code.

`hold_all` stops all mail of an account, and is a change like any other. No key can make or
reach one with more mailboxes than its own. A code is shown to an operator (`./run manage
gateway_codes`), mailed to the account's oversight address, and never shown to the key that
asked.
"""

import hashlib
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from common.fingerprint import canonical_json
from gateway import auditing, notices, tasks
from gateway.errors import (
    Conflict,
    Forbidden,
    GatewayError,
    Invalid,
    NotFound,
    TooManyRequests,
)
from gateway.lookups import first_or_404, mailbox_named
from gateway.models import (
    Account,
    ApiKey,
    ApprovalRequest,
    Domain,
    Email,
    Mailbox,
    Scope,
    hash_key,
)
from gateway.models.codes import LIFETIME, new_code

# How many messages are enqueued when hold_all ends; the sweep finds the rest.
_BATCH = 200


def change_account(
    key: ApiKey, *, changes: dict[str, Any], hold_all: bool | None
) -> Account:
    """Change fields of the key's account, and switch `hold_all` when it is given.
    Raises Forbidden or Invalid.
    """
    if hold_all is not None and key.sandbox:
        raise Forbidden(
            "A sandbox key cannot hold or release live mail.", code="sandbox_key"
        )
    with transaction.atomic():
        account = Account.locked(key.account_id)
        commercial = Mailbox.objects.filter(
            account=account, commercial=True, is_active=True
        )
        if not changes.get("physical_address", "kept").strip() and commercial.exists():
            raise Invalid(
                "physical_address: commercial mail must show it. Switch commercial off for the mailboxes first."
            )
        if changes:
            account.save_fields(**changes)
            auditing.record("account.updated", account, key, fields=sorted(changes))
        if hold_all is not None:
            # Setting it again takes the new moment: what was approved in between is
            # held, too.
            was_on = account.hold_all_at is not None
            account.save_fields(hold_all_at=timezone.now() if hold_all else None)
            if hold_all or was_on:
                auditing.record(
                    f"account.hold_all_{'on' if hold_all else 'off'}", account, key
                )
            if was_on and not hold_all:
                due = (
                    Email.objects.in_outbox().filter(account=account).order_by("due_at")
                )
                for email_id in due.values_list("pk", flat=True)[:_BATCH]:
                    tasks.send_email.delay_on_commit(email_id)
    return account


def close_account(key: ApiKey) -> None:
    """Close the key's account for good: no key works any more, and nothing leaves.
    Raises Forbidden.
    """
    if key.sandbox:
        raise Forbidden("A sandbox key cannot delete the account.", code="sandbox_key")
    with transaction.atomic():
        Account.objects.filter(pk=key.account_id).update(is_active=False)
        # The addresses stay reserved, but another account may verify the domain.
        Domain.objects.active().filter(account_id=key.account_id).update(
            status=Domain.Status.PENDING
        )
        auditing.record("account.deleted", key.account, key)


LIVE_PREFIX = "mm_live_"
SANDBOX_PREFIX = "mm_test_"


def key_named(key: ApiKey, key_id: str) -> ApiKey:
    """Return the key with this id, as far as `key` may look after it. Raises NotFound."""
    return first_or_404(ApiKey.objects.manageable_by(key).filter(pk=key_id), "API key")


def create_key(key: ApiKey, made: ApiKey, mailboxes: list[str] | None) -> str:
    """Store `made`, a key of the account of `key`, and return its text, which is not
    stored. Raises NotFound for a mailbox, or Forbidden.
    """
    if key.sandbox and not made.sandbox:
        raise Forbidden("A sandbox key can only make sandbox keys.", code="sandbox_key")
    made.account = key.account
    made.mailbox_ids = _limits(key, mailboxes)
    return store_key(made, key=key)


@transaction.atomic
def store_key(made: ApiKey, **facts: Any) -> str:
    """Store a key, and return its text. `facts` are for the audit log."""
    text = new_key_text(sandbox=made.sandbox)
    made.sha256 = hash_key(text)
    made.prefix = f"{text[:11]}..."
    made.save()
    auditing.record(
        "api_key.created",
        made,
        scopes=made.scopes,
        mailboxes=made.mailbox_ids,
        sandbox=made.sandbox,
        **facts,
    )
    made.refresh_from_db(fields=["created_at"])
    return text


def change_key(key: ApiKey, *, changed: ApiKey, changes: dict[str, Any]) -> ApiKey:
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
        auditing.record("api_key.updated", changed, key, **facts)
    return changed


@transaction.atomic
def revoke_key(key: ApiKey, *, revoked: ApiKey) -> None:
    """Revoke a key at once; a key may revoke itself. Twice is no error. Raises Conflict
    for the last admin.
    """
    revoked = _locked(revoked)
    if revoked.revoked_at is not None:
        return
    _check_another_admin(revoked)
    revoked.save_fields(revoked_at=timezone.now())
    auditing.record("api_key.revoked", revoked, key)


def needs_approval_code(
    key: ApiKey, scopes: Collection[str], before: Collection[str] = ()
) -> bool:
    """Whether a person confirms that `key` makes a key with `scopes`, or gives them to
    one that had `before`.

    That is so for every key that decides; and where a key that sends would get at one
    that administers without sending, which sees codes and loosens mailboxes.
    """

    def administers(scopes: Collection[str]) -> bool:
        return Scope.ADMIN in scopes and Scope.SEND not in scopes

    decides = Scope.OVERSIGHT in scopes and Scope.OVERSIGHT not in before
    frees_sender = key.may(Scope.SEND) and administers(scopes)
    return decides or (frees_sender and not administers(before))


def _limits(key: ApiKey, names: list[str] | None) -> list[str]:
    """Return the ids of the mailboxes named; none of them: all. Names that `key` itself
    cannot see are not found.
    """
    if names is None:
        if key.mailbox_ids:
            raise Invalid(
                "mailboxes: this key is limited to some mailboxes, so list those of the new key."
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


def register_key(account: Account, text: str, **fields: Any) -> ApiKey:
    """Return the key of this text; where there is none, made with these fields."""
    fields |= {
        "account": account,
        "prefix": f"{text[:11]}...",
        "sandbox": text.startswith(SANDBOX_PREFIX),
    }
    return ApiKey.objects.get_or_create(sha256=hash_key(text), defaults=fields)[0]


# Each request allows five tries at its code; together too few to guess one.
MAX_AN_HOUR = 20


class ConfirmationRequired(GatewayError):
    """The act waits for a person to confirm it."""

    status = 202
    code = "pending_approval"

    def body(self) -> dict[str, Any]:
        """Return the answer, which is no error and has no `error`."""
        return {
            "status": self.code,
            "code": self.code,
            "message": self.error,
            **self.extra,
        }


@contextmanager
def confirmed(
    key: ApiKey,
    action: str,
    what: dict[str, Any],
    summary: str,
    *,
    code: str | None,
    needed: bool | None = None,
) -> Iterator[None]:
    """Run the body of the `with` if its act needs no code or has the right one; `what`
    says which act exactly.

    Without a code the body runs and is undone, so that an act that is refused anyway is
    refused at once; then a request is stored and ConfirmationRequired is raised. Code
    and act are one transaction: a code is not used up by a failed act. `needed` says
    whether the act needs one, where that is not the operator's setting to say. Raises
    also Forbidden for a wrong code, NotFound when no such act waits, and
    TooManyRequests.
    """
    # It binds a code to this act of this key.
    digest = hashlib.sha256(
        canonical_json([key.account_id, key.pk, action, what])
    ).hexdigest()
    if needed is None:
        needed = settings.GATEWAY_APPROVAL_CODES == "1"
        if settings.GATEWAY_APPROVAL_CODES == "address":
            needed = bool(key.account.oversight_email)
    if not needed:
        yield
        return
    if code:
        waiting = ApprovalRequest.objects.waiting().filter(
            account_id=key.account_id, action=action, digest=digest
        )
        with transaction.atomic():
            request = waiting.select_for_update().first()
            if request and request.redeem(code):
                yield
                return
        # After the transaction, so that a wrong try is counted.
        if request is None:
            raise NotFound(
                "No request matches this code. A code works once, within 24 hours, only for the exact request, and "
                "allows a few tries. Repeat the request without approval_code to get a new one.",
                code="no_pending_approval",
            )
        raise Forbidden("The approval_code is wrong.", code="wrong_code")
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
    now = timezone.now()
    with transaction.atomic():
        account = Account.locked(key.account_id)
        mine = ApprovalRequest.objects.filter(account=account)
        request = mine.waiting().filter(action=action, digest=digest).first()
        if request is None:
            recent = mine.filter(created_at__gt=now - timedelta(hours=1))
            if recent.count() >= MAX_AN_HOUR:
                raise TooManyRequests(
                    f"Only {MAX_AN_HOUR} codes can be requested per hour.",
                    code="too_many_approvals",
                    retry_after=3600,
                )
            request = mine.create(
                account=account,
                action=action,
                digest=digest,
                summary=summary[:300],
                code=new_code(),
                requested_by_key=key,
                expires_at=now + LIFETIME,
            )
            auditing.record("approval.requested", request, key, wanted=action)
            notices.mail_code(request)
    sentence = (
        "An operator must confirm this. Repeat the same request with the approval_code "
        "that the operator gives you."
    )
    if notices.oversight_address(account):
        sentence += " The code goes to the account's oversight address."
    raise ConfirmationRequired(sentence, id=request.pk)
