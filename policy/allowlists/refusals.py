"""Reads what the gate refused because of an allowlist into `GateRefusal`, each once,
with its line in the ledger.

A webhook about a refusal only triggers this read: the list is complete.
"""

import logging
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from audit.recording import record
from common.actors import webhook
from common.postgres import clock
from mirror.models import Connection
from mirror.recording import trigger_details
from mirror.sync import health
from policy.models import GateRefusal
from upstream import errors
from upstream.admin import AdminClient
from upstream.events import read_time

log = logging.getLogger(__name__)

WITHIN = 20.0
# At a time; the newest come first. What is older is left out, and only where the desk
# did not look for very long.
MOST = 2000


def read_refusals(*, connection_id: int) -> str:
    """Read what the gate of one connection refused since the last time, and return a
    short word.
    """
    connection = Connection.objects.get(pk=connection_id)
    key = connection.admin_key or connection.oversight_key
    if not connection.is_our_gateway or not key or connection.removed_at:
        return "cannot be asked"
    try:
        rows = _new_rows(
            connection, AdminClient(base_url=connection.api_url, key=key, within=WITHIN)
        )
    except errors.UpstreamError as error:
        if isinstance(error, errors.Throttled):
            health.wait(connection, error.retry_after)
        log.warning(
            "refusals not read",
            extra={"connection": connection.slug, "reason": error.sentence},
        )
        return "not now"
    _store(connection, rows)
    return f"{len(rows)} read"


def _new_rows(connection: Connection, client: AdminClient) -> list[Mapping[str, Any]]:
    """Return what is not known yet, the oldest first. All pages or none: what is known
    shows where the rest was.
    """
    rows: dict[str, Mapping[str, Any]] = {}
    cursor = ""
    seen = {""}
    while len(rows) < MOST:
        page, cursor = client.list_refusals(cursor=cursor)
        by_id = {str(row["id"])[:200]: row for row in page if row.get("id")}
        known = set(
            connection.refusals.filter(upstream_id__in=by_id).values_list(
                "upstream_id", flat=True
            )
        )
        rows |= {name: row for name, row in by_id.items() if name not in known}
        if known or not cursor or cursor in seen:
            break
        seen.add(cursor)
    return list(rows.values())[::-1]


@transaction.atomic
def _store(connection: Connection, rows: list[Mapping[str, Any]]) -> None:
    mailboxes = dict(connection.mailboxes.values_list("upstream_id", "pk"))
    for row in rows:
        metadata = row.get("metadata")
        fields = {
            "mailbox_id": mailboxes.get(str(row.get("mailbox_id") or "")),
            "recipients": _addresses(row.get("recipients")),
            "refused": _addresses(row.get("refused_recipients")),
            "rule": str(row.get("rule") or "")[:300],
            "sent_by_key": str(row.get("key_id") or "")[:200],
            "sent_by_key_name": str(row.get("key_name") or "")[:200],
            "trigger": metadata if isinstance(metadata, dict) else {},
            "sandbox": bool(row.get("sandbox")),
            "refused_at": read_time(row.get("created_at")) or clock(),
        }
        refusal, is_new = GateRefusal.objects.get_or_create(
            connection=connection, upstream_id=str(row["id"])[:200], defaults=fields
        )
        if is_new:
            record(
                "message.refused_at_gate",
                # The gate acted; the desk learned of it by a read.
                actor=webhook(connection.slug, surface="worker"),
                connection=connection.pk,
                details={
                    "mailbox": str(refusal.mailbox or row.get("mailbox") or ""),
                    "recipients": ", ".join(refusal.recipients),
                    "refused": ", ".join(refusal.refused),
                    "rule": refusal.rule,
                    "key": refusal.sent_by_key_name or refusal.sent_by_key,
                    "at the gate": f"{refusal.refused_at:%Y-%m-%d %H:%M:%S} UTC",
                    **trigger_details(refusal.trigger),
                },
            )


def _addresses(value: Any) -> list[str]:
    return [str(one)[:320] for one in value[:500]] if isinstance(value, list) else []
