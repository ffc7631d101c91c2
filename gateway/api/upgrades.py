"""Asking for a looser oversight mode, and granting it by a one-time code."""

from django.http import HttpResponse
from django.utils import timezone
from ninja import Router

from gateway import upgrades
from gateway.account_shapes import mailbox_facts, upgrade_facts
from gateway.answers.accounts import MailboxChanged, UpgradeAsked, UpgradeRequests
from gateway.answers.base import Problem, answer, documented
from gateway.auth import KeyedRequest, needs
from gateway.lookups import mailbox_named
from gateway.models import UpgradeRequest
from gateway.models.accounts import Scope
from gateway.schemas.upgrades import UpgradeCode, UpgradeWish

router = Router(tags=["oversight"])

_ASKED = (
    "An operator has the code for this and decides whether to give it to you. It is good once, for 24 hours: pass it "
    "on with upgrade."
)


@router.post(
    "/mailboxes/{mailbox}/request-upgrade",
    auth=needs(Scope.SEND, Scope.ADMIN),
    response=documented(UpgradeAsked) | {429: Problem},
)
def request_upgrade(request: KeyedRequest, mailbox: str, body: UpgradeWish) -> HttpResponse:
    """Ask for a looser oversight mode; three times an hour at most. The code goes to an operator."""
    asked = upgrades.request_upgrade(
        key=request.auth,
        mailbox=mailbox_named(request.auth, mailbox),
        target=body.target_mode,
        now=timezone.now(),
    )
    return answer(upgrade_facts(asked) | {"status": "upgrade_requested", "message": _ASKED})


@router.post("/mailboxes/{mailbox}/upgrade", auth=needs(Scope.SEND, Scope.ADMIN), response=documented(MailboxChanged))
def upgrade(request: KeyedRequest, mailbox: str, body: UpgradeCode) -> HttpResponse:
    """Loosen the mode with the code that an operator gave. Dashes and case do not matter."""
    changed = upgrades.upgrade(
        key=request.auth, mailbox=mailbox_named(request.auth, mailbox), code=body.code, now=timezone.now()
    )
    return answer(mailbox_facts(changed) | {"status": "upgraded"})


@router.get("/upgrade-requests", auth=needs(Scope.ADMIN), response=documented(UpgradeRequests))
def list_upgrade_requests(request: KeyedRequest) -> HttpResponse:
    """List what waits for a code, newest first, with who asked, and with the codes for a person to pass on.

    A key that also sends, or is a sandbox key, gets null for a code: it would loosen oversight in its own favour.
    """
    key = request.auth
    rows = UpgradeRequest.objects.visible_to(key).waiting().select_related("requested_by_key")
    shown = not key.is_party()
    told = [
        upgrade_facts(one)
        | {
            "requested_by": one.requested_by_key_id,
            "requested_by_name": one.requested_by_key.name,
            "code": one.code if shown else None,
        }
        for one in rows
    ]
    return answer({"requests": told})
