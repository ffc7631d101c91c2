"""Writes the gateway's audit log, always in the transaction of the act itself.

Acts of keys and operators also go to the log of the process once they are committed;
those on emails are logged where they happen.
"""

import logging
from typing import Any

from django.db import transaction

from gateway.models import Allowlist, ApiKey, AuditLogEntry, Domain, Email, Mailbox

log = logging.getLogger(__name__)

# Acts that stop or loosen something, or indicate an attack.
_WARNINGS = frozenset(
    """
    account.deleted account.hold_all_on account.hold_all_off
    header_injection.refused mailbox.upgraded suppression.added webhook.paused
    """.split()
)
# Where the log calls a model otherwise than Django does.
_NAMES = {
    "apikey": "api_key",
    "approvalrequest": "approval",
    "webhookdelivery": "webhook_delivery",
}


def record(action: str, about: Any, *, key: ApiKey | None = None, **facts: Any) -> None:
    """Record an act on `about`, a row. `facts` never hold text that a person wrote,
    except a decision's reason.
    """
    if isinstance(about, Email):
        facts = {"mailbox_id": about.mailbox_id, "status": about.status, **facts}
    elif isinstance(about, Mailbox):
        facts["mailbox_id"] = about.pk
    elif isinstance(about, Domain):
        facts["domain"] = about.domain
    name = about._meta.model_name
    kind = _NAMES.get(name, name)
    # An allowlist is known by its mailbox.
    pk = about.mailbox_id if isinstance(about, Allowlist) else about.pk
    AuditLogEntry.objects.create(
        account_id=key.account_id if key else getattr(about, "account_id", about.pk),
        action=action,
        resource_type=kind,
        resource_id=pk,
        actor_key=key,
        metadata=facts,
    )
    if kind != "email":
        level = logging.WARNING if action in _WARNINGS else logging.INFO
        ids = {kind: pk, "key": key.pk if key else None}
        transaction.on_commit(lambda: log.log(level, action, extra=ids))
