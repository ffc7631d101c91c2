"""The account itself, with what the calling key may do."""

from typing import Any

from django.http import HttpResponse
from django.utils import timezone
from ninja import Router

from gateway import accounts, closing
from gateway.account_shapes import account_facts
from gateway.answers.accounts import AccountAnswer, AccountChanged, PendingApproval
from gateway.answers.base import Changed, answer, documented
from gateway.auth import KeyedRequest, needs
from gateway.confirmations import confirmed
from gateway.lookups import check_unlimited
from gateway.models import Account, ApiKey, Mailbox
from gateway.models.accounts import Scope
from gateway.schemas.accounts import AccountPatch
from gateway.schemas.confirming import ConfirmIn

router = Router(tags=["account"])


@router.get("/account", auth=needs(), response=documented(AccountAnswer))
def read_account(request: KeyedRequest) -> HttpResponse:
    """Read the account. A key without `read` gets only its id, its scopes and its mailboxes."""
    key = request.auth
    facts = account_facts(key.account, now=timezone.now()) if key.may(Scope.READ) else {}
    return answer(facts | {"id": key.account_id, "scopes": key.scopes, "mailboxes": _mailboxes(key)})


@router.patch("/account", auth=needs(Scope.ADMIN), response=documented(AccountChanged) | {202: PendingApproval})
def update_account(request: KeyedRequest, body: AccountPatch) -> HttpResponse:
    """Change the account. While `hold_all` is true, nothing leaves that is not approved after it was set.

    A key that also sends, or a sandbox key, needs an operator's code to end that, or to say who gets copies of
    monitored mail.
    """
    key, now = request.auth, timezone.now()
    check_unlimited(key)
    asked = confirmed(
        key=key,
        action="update_account",
        what=body.act(),
        summary=_summary(body),
        code=body.approval_code,
        now=now,
        needed=key.is_party() and _frees(body, key.account),
    )
    with asked:
        account = accounts.change_account(key=key, changes=body.changes(), hold_all=body.hold_all, now=now)
    return answer(account_facts(account, now=now) | {"status": "updated"})


@router.delete("/account", auth=needs(Scope.ADMIN), response=documented(Changed) | {202: PendingApproval})
def delete_account(request: KeyedRequest, body: ConfirmIn = ConfirmIn(), approval_code: str = "") -> HttpResponse:  # noqa: B008
    """Delete the account: nothing leaves any more, what waits is cancelled, and all its keys are refused."""
    key, now = request.auth, timezone.now()
    check_unlimited(key)
    asked = confirmed(
        key=key,
        action="delete_account",
        what={},
        summary=f"Delete the account {key.account.name}",
        code=body.approval_code or approval_code,
        now=now,
    )
    with asked:
        accounts.close_account(key=key)
    closing.cancel_left_behind(key=key, now=now)
    return answer({"id": key.account_id, "status": "deleted"})


def _frees(body: AccountPatch, account: Account) -> bool:
    """Whether a key that sends would let its own mail go by this, or choose itself who watches it."""
    lets_go = body.hold_all is False and account.hold_all_at is not None
    # No list of allowed recipients is asked about the copies.
    return lets_go or body.changes().get("oversight_email", account.oversight_email) != account.oversight_email


def _summary(body: AccountPatch) -> str:
    copies = body.changes().get("oversight_email")
    parts = ["Let mail go again that hold_all stopped"] if body.hold_all is False else []
    parts += [] if copies is None else [f"Send copies of monitored mail to {copies or 'nobody'}"]
    return "; ".join(parts) or "Change the account"


def _mailboxes(key: ApiKey) -> list[dict[str, Any]]:
    return [
        {"id": mailbox.pk, "address": mailbox.address, "oversight_mode": mailbox.oversight_mode}
        for mailbox in Mailbox.objects.visible_to(key).order_by("id")
    ]
