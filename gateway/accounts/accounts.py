"""Makes, changes and closes accounts. `hold_all` stops all mail of an account, and is a
change like any other.
"""

from typing import Any

from django.db import transaction
from django.utils import timezone

from gateway import auditing, tasks
from gateway.errors import Forbidden, Invalid
from gateway.models import Account, ApiKey, Domain, Email, Mailbox

# How many messages are enqueued when hold_all ends; the sweep finds the rest.
_BATCH = 200


def change_account(
    *, key: ApiKey, changes: dict[str, Any], hold_all: bool | None
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
                "physical_address: commercial mail must show it. Switch commercial off for the mailboxes first.",
                field="physical_address",
            )
        if changes:
            account.save_fields(**changes)
            auditing.record("account.updated", account, key=key, fields=sorted(changes))
        if hold_all is not None:
            # Setting it again takes the new moment: what was approved in between is
            # held, too.
            was_on = account.hold_all_at is not None
            account.save_fields(hold_all_at=timezone.now() if hold_all else None)
            if hold_all or was_on:
                auditing.record(
                    f"account.hold_all_{'on' if hold_all else 'off'}", account, key=key
                )
            if was_on and not hold_all:
                due = (
                    Email.objects.in_outbox().filter(account=account).order_by("due_at")
                )
                for email_id in due.values_list("pk", flat=True)[:_BATCH]:
                    tasks.send_email.delay_on_commit(email_id)
    return account


def close_account(*, key: ApiKey) -> None:
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
        auditing.record("account.deleted", key.account, key=key)


def make_account(*, name: str, slug: str, oversight_email: str = "") -> Account:
    """Return the account with this slug, made if there is none."""
    return Account.objects.get_or_create(
        slug=slug, defaults={"name": name, "oversight_email": oversight_email}
    )[0]
