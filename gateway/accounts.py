"""Commands on gateway accounts and their API keys: change or close an account; make,
change and revoke keys. Also `confirmed`, by which an administrative act waits until a
person confirms it with a one-time code.

No key can make or manage a key that may use more mailboxes than its own. A code is
shown to an operator (`./run manage gateway_codes`) and mailed to the account's
oversight address, and is never shown to the key that asked for it.
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
from common.postgres import clock
from common.unique_keys import Json
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
from gateway.timestamps import iso

# When `hold_all` is switched off, at most this many waiting messages are enqueued at
# once; the sweep enqueues the rest.
_BATCH = 200


def change_account(key: ApiKey, *, changes: Json, hold_all: bool | None) -> Account:
    """Change fields of the key's account, and switch `hold_all` (which stops all its
    mail) unless that is None. Raises Forbidden or Invalid.
    """
    if hold_all is not None and key.sandbox:
        raise Forbidden(
            "A sandbox key cannot hold or release live mail.", code="sandbox_key"
        )
    with transaction.atomic():
        account = Account.locked(key.account_id)
        # By the account as it was read, it was judged whether this needs a code.
        judged = [*changes, *(["hold_all_at"] if hold_all is False else [])]
        if any(getattr(account, name) != getattr(key.account, name) for name in judged):
            raise Conflict(
                "The account was changed at the same time. Read it again before you retry.",
                code="changed_meanwhile",
            )
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
            # Setting hold_all again stores the new time, so messages that were approved
            # between the two times are held too.
            was_on = account.hold_all_at is not None
            account.save_fields(hold_all_at=clock() if hold_all else None)
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
    """Close the key's account for good: all its keys stop working, and none of its mail
    is sent any more. Raises Forbidden for a sandbox key.
    """
    if key.sandbox:
        raise Forbidden("A sandbox key cannot delete the account.", code="sandbox_key")
    with transaction.atomic():
        Account.objects.filter(pk=key.account_id).update(is_active=False)
        # The mailboxes' addresses stay taken, but another account may verify the
        # domain.
        Domain.objects.active().filter(account_id=key.account_id).update(
            status=Domain.Status.PENDING
        )
        auditing.record("account.deleted", key.account, key)


LIVE_PREFIX = "mm_live_"
SANDBOX_PREFIX = "mm_test_"


def key_named(key: ApiKey, key_id: str) -> ApiKey:
    """Return the key with this id, if `key` may manage it. Raises NotFound."""
    return first_or_404(ApiKey.objects.manageable_by(key).filter(pk=key_id), "API key")


def create_key(key: ApiKey, made: ApiKey, mailboxes: list[str] | None) -> str:
    """Store `made`, a new key for the account of `key`, and return its secret text.
    `mailboxes` are the ids or addresses that it is limited to; None means all.

    Raises NotFound for an unknown mailbox, Invalid if a limited key names none or the
    time is over, and Forbidden if a sandbox key makes a live key, or a key that expires
    one that lasts longer.
    """
    if key.sandbox and not made.sandbox:
        raise Forbidden("A sandbox key can only make sandbox keys.", code="sandbox_key")
    if made.expires_at and made.expires_at <= timezone.now():
        raise Invalid("expires_at: this time is over.")
    if key.expires_at and not (made.expires_at and made.expires_at <= key.expires_at):
        raise Forbidden(
            f"The calling key expires at {iso(key.expires_at)}: give the new one an expires_at that is no later.",
            code="key_expires",
        )
    made.account = key.account
    made.mailbox_ids = _mailbox_ids(key, mailboxes)
    return store_key(made, key=key)


@transaction.atomic
def store_key(made: ApiKey, **facts: Any) -> str:
    """Store a new key and return its secret text, of which only a hash is stored.
    `facts` go into the audit log.
    """
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


def change_key(key: ApiKey, *, changed: ApiKey, changes: Json) -> ApiKey:
    """Change name, scopes or mailboxes of the key `changed`, or pause or resume it.
    Raises Conflict if it is revoked, or if no key would be left that can administer the
    whole account.
    """
    fields = dict(changes)
    paused = fields.pop("paused", None)
    if "mailboxes" in fields:
        fields["mailbox_ids"] = _mailbox_ids(key, fields.pop("mailboxes"))
    judged_scopes = changed.scopes
    with transaction.atomic():
        changed = _locked(changed)
        if changed.revoked_at:
            raise Conflict(
                "This key is revoked for good. Create a new one.", code="revoked"
            )
        if "scopes" in fields and changed.scopes != judged_scopes:
            # By the earlier scopes it was judged whether this needs a code.
            raise Conflict(
                "The key was changed at the same time. Read it again before you retry.",
                code="changed_meanwhile",
            )
        if Scope.ADMIN not in fields.get("scopes", [Scope.ADMIN]) or fields.get(
            "mailbox_ids"
        ):
            _check_another_admin(changed)
        facts = {name: value for name, value in fields.items() if name != "name"}
        if paused is not None:
            # A key that is paused already keeps the time at which it was paused first.
            fields["paused_at"] = (
                (changed.paused_at or timezone.now()) if paused else None
            )
            facts["paused"] = paused
        changed.save_fields(**fields)
        auditing.record("api_key.updated", changed, key, **facts)
    return changed


@transaction.atomic
def revoke_key(key: ApiKey, *, revoked: ApiKey) -> None:
    """Revoke a key at once; a key may revoke itself. Revoking it twice is no error.
    Raises Conflict for the last key that can administer the whole account.
    """
    revoked = _locked(revoked)
    if revoked.revoked_at:
        return
    _check_another_admin(revoked)
    revoked.save_fields(revoked_at=timezone.now())
    auditing.record("api_key.revoked", revoked, key)


def needs_approval_code(
    key: ApiKey, scopes: Collection[str], before: Collection[str] = ()
) -> bool:
    """Whether a person must confirm that `key` makes a key with `scopes`, or gives them
    to a key that had the scopes `before`.

    A person confirms every new scope `oversight`. If `key` can send, a person also
    confirms that it makes a key without `send` that has `admin`, which sees the codes
    that loosen a mailbox, or `oversight_read`, which reads withheld mail. If `key` is
    paused, a person confirms that another key may send.
    """
    gained = set(scopes) - set(before)
    if Scope.SEND not in scopes:
        # What a key that sends may not do, it may do from now on.
        lost_send = Scope.SEND in before
        beyond = {Scope.ADMIN, Scope.OVERSIGHT_READ}
        given = beyond.intersection(scopes if lost_send else gained)
        if given and key.may(Scope.SEND):
            return True
    is_paused = key.paused_at is not None
    return Scope.OVERSIGHT in gained or (is_paused and Scope.SEND in gained)


def _mailbox_ids(key: ApiKey, names: list[str] | None) -> list[str]:
    """Return the ids of the mailboxes that `names` names, each once; an empty list
    means all mailboxes. Raises NotFound for a mailbox that `key` cannot use itself, and
    Invalid if a limited key gives None.
    """
    if names is None:
        if key.mailbox_ids:
            raise Invalid(
                "mailboxes: this key is limited to some mailboxes, so list those of the new key."
            )
        return []
    return list(dict.fromkeys(mailbox_named(key, name).pk for name in names))


def _locked(key: ApiKey) -> ApiKey:
    # Locks the account, so that no other request removes an admin key before this
    # change is stored. Returns the key as it is now.
    Account.locked(key.account_id)
    return ApiKey.objects.get(pk=key.pk)


def _check_another_admin(key: ApiKey) -> None:
    """Raise Conflict if `key` is the last key that can administer the whole account:
    without one, nobody could make a new one.
    """
    admins = ApiKey.objects.filter(account_id=key.account_id).account_admins()
    if list(admins[:2]) == [key]:
        raise Conflict(
            "This is the last key that can administer the whole account. Create another one first.",
            code="last_admin",
        )


def new_key_text(*, sandbox: bool = False) -> str:
    """Return a random secret text for a new key; its prefix says whether it is a
    sandbox key.
    """
    return (SANDBOX_PREFIX if sandbox else LIVE_PREFIX) + secrets.token_hex(20)


def register_key(account: Account, text: str, **fields: Any) -> ApiKey:
    """Return the key with this secret text; if there is none, create it with these
    fields.
    """
    fields |= {
        "account": account,
        "prefix": f"{text[:11]}...",
        "sandbox": text.startswith(SANDBOX_PREFIX),
    }
    return ApiKey.objects.get_or_create(sha256=hash_key(text), defaults=fields)[0]


# Codes that an account may request in an hour. Each request allows five tries at its
# code, so an hour's tries are too few to guess one.
MAX_AN_HOUR = 20


class ConfirmationRequired(GatewayError):
    """The act is not done yet: it waits for a person to confirm it (status 202)."""

    status = 202
    code = "pending_approval"

    def body(self) -> Json:
        """Return the JSON of the answer. It has no key `error`, because it is no
        error.
        """
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
    what: Json,
    summary: str,
    *,
    code: str | None,
    needed: bool | None = None,
) -> Iterator[None]:
    """Run the body of the `with`, which does an act, if the act needs no code or `code`
    is the right one. `what` describes the act exactly: a code is valid for nothing
    else.

    If a code is needed and none is given, the body runs in a transaction that is rolled
    back, so that an act that is not allowed is refused at once. Then a request with a
    code is stored, unless one is waiting already, and ConfirmationRequired is raised.
    Code and act are one transaction, so an act that fails does not use up its code.
    `needed` says whether the act needs a code; None leaves that to the setting
    GATEWAY_APPROVAL_CODES. Also raises Forbidden for a wrong code, NotFound if no such
    act is waiting, and TooManyRequests.
    """
    # A code is valid only for the same digest: the same act by the same key.
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
    of_account = ApprovalRequest.objects.filter(account_id=key.account_id)
    waiting = of_account.waiting().filter(action=action, digest=digest)
    if code:
        with transaction.atomic():
            request = waiting.select_for_update().first()
            if request and request.redeem(code):
                yield
                return
        # Raised after the transaction, so that the count of wrong tries is committed.
        if not request:
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
        request = waiting.first()
        if not request:
            recent = of_account.filter(created_at__gt=now - timedelta(hours=1))
            if recent.count() >= MAX_AN_HOUR:
                raise TooManyRequests(
                    f"Only {MAX_AN_HOUR} codes can be requested per hour.",
                    code="too_many_approvals",
                    retry_after=3600,
                )
            request = of_account.create(
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
