"""Writes the gateway's audit log. `record` is called in the transaction of the action;
after the commit it also writes to the log of the process, without text that people
wrote.
"""

import logging
import re
from typing import Any

from django.db import transaction

from gateway.models import Allowlist, ApiKey, AuditLogEntry, Domain, Email, Mailbox

log = logging.getLogger(__name__)

# These actions stop or loosen something, or indicate an attack.
_WARNINGS = frozenset(
    """
    account.deleted account.hold_all_on account.hold_all_off email.send_failed
    header_injection.refused mailbox.upgraded suppression.added webhook.paused
    """.split()
)
# Names of models in the audit log that differ from Django's.
_NAMES = {
    "apikey": "api_key",
    "approvalrequest": "approval",
    "webhookdelivery": "webhook_delivery",
}
# Facts of an action on an email that may go to the log of the process: codes, numbers
# and names of rules.
_LOGGED = """
because code refused reported rule answer queue_id message_id
""".split()
_ADDRESS = re.compile(r"(?<![^\s<>])[^\s<>@]*+@[^\s<>]*+")


def without_addresses(text: str) -> str:
    """Return an error text for the log of the process: shortened, and with `(address)`
    in place of each email address.
    """
    # Cut before the search too, which so takes a bounded time.
    return _ADDRESS.sub("(address)", text[:500])[:200]


def record(action: str, about: Any, key: ApiKey | None = None, **facts: Any) -> None:
    """Write the entry for an action on the row `about`, done with `key` if one is given.
    `facts` must not hold text that a person wrote, except the reason of a decision and
    what a client reports.
    """
    logged: dict[str, Any] = {}
    if isinstance(about, Email):
        facts = {"mailbox_id": about.mailbox_id, "status": about.status, **facts}
        logged = {fact: facts[fact] for fact in _LOGGED if fact in facts} | {
            "mailbox": about.mailbox_id,
            "state": about.status,
            "mode": about.oversight_mode,
            "sandbox": about.sandbox,
            "attempt": about.attempts,
        }
        if action in ("email.send_failed", "email.fate_unknown"):
            logged["reason"] = without_addresses(about.last_error)
    elif isinstance(about, Mailbox):
        facts["mailbox_id"] = about.pk
    elif isinstance(about, Domain):
        facts["domain"] = about.domain
    model_name = about._meta.model_name
    kind = _NAMES.get(model_name, model_name)
    # An allowlist is identified by its mailbox.
    pk = about.mailbox_id if isinstance(about, Allowlist) else about.pk
    AuditLogEntry.objects.create(
        # An account has no account_id.
        account_id=key.account_id if key else getattr(about, "account_id", about.pk),
        action=action,
        resource_type=kind,
        resource_id=pk,
        actor_key=key,
        metadata=facts,
    )
    level = logging.WARNING if action in _WARNINGS else logging.INFO
    if action == "email.fate_unknown":
        level = logging.ERROR
    logged |= {kind: pk, "key": key.pk if key else None}
    transaction.on_commit(lambda: log.log(level, action, extra=logged))
