"""Administrative acts that a person confirms by a code: asked for once, and done when
the code comes along.

The code is shown to an operator (`./run manage gateway_codes`), mailed to the account's
oversight address, and never shown to the key that asked.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from common.fingerprint import canonical_json
from gateway import auditing, notices
from gateway.errors import Forbidden, GatewayError, NotFound, TooManyRequests
from gateway.models import Account, ApiKey, ApprovalRequest
from gateway.models.codes import LIFETIME, new_code

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
    *,
    summary: str,
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
            is_right = request is not None and request.matches(code)
            if request is not None and is_right:
                request.save_fields(used_at=timezone.now())
                yield
        # After the transaction, so that a wrong try is counted.
        if request is None:
            raise NotFound(
                "No request matches this code. A code works once, within 24 hours, only for the exact request, and "
                "allows a few tries. Repeat the request without approval_code to get a new one.",
                code="no_pending_approval",
            )
        if not is_right:
            raise Forbidden("The approval_code is wrong.", code="wrong_code")
        return
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
            auditing.record("approval.requested", request, key=key, wanted=action)
            notices.mail_code(request)
    sentence = (
        "An operator must confirm this. Repeat the same request with the approval_code "
        "that the operator gives you."
    )
    if notices.oversight_address(account):
        sentence += " The code goes to the account's oversight address."
    raise ConfirmationRequired(sentence, id=request.pk)
