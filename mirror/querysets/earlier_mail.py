"""Reads of earlier mail, for what is examined now: who was written to, and what was rejected. Each is bounded."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from common.postgres.rows import run

if TYPE_CHECKING:
    from mirror.models import Message

# So many addresses are asked about one by one; more of them all at once, and no further than so many messages.
ONE_BY_ONE, MOST_MESSAGES = 200, 20_000
MOST_SAME, MOST_NEAR = 50, 200

# A test message reaches nobody: whoever may send such a thing makes nobody known by it.
_LEFT = "state IN ('approved', 'sent', 'delivered') AND direction = 'outbound' AND NOT sandbox"
_CONTACTS = f"""
SELECT address, count(*) FROM (
    SELECT addresses FROM mirror_message
    WHERE connection_id = %s AND {_LEFT} ORDER BY changed_at DESC LIMIT %s
) AS newest, unnest(addresses) AS address GROUP BY address ORDER BY count(*) DESC, address LIMIT %s
"""  # noqa: S608 - words of ours
_ONE_BY_ONE = f"""
SELECT address FROM unnest(%s::text[]) AS address WHERE EXISTS (
    SELECT 1 FROM mirror_message WHERE connection_id = %s AND {_LEFT} AND addresses @> ARRAY[address]
)
"""  # noqa: S608 - words of ours
_ALL_AT_ONCE = f"""
SELECT DISTINCT address FROM (
    SELECT addresses FROM mirror_message WHERE addresses && %s::text[] AND connection_id = %s AND {_LEFT} LIMIT %s
) AS found, unnest(addresses) AS address WHERE address = ANY(%s::text[])
"""  # noqa: S608 - words of ours

# What a person rejected, here or at MultiMail: neither what was sent back for changes nor what ran out of time.
_REJECTED = """
SELECT id, public_id, mailbox_id, bands, changed_at, upstream_decided_by, upstream_reason FROM mirror_message
WHERE state = 'rejected' AND connection_id = %s AND sandbox = %s AND direction = %s AND id <> %s
    AND changed_at > now() - interval '90 days'
"""
_BY_A_PERSON = """
SELECT m.public_id, m.mailbox_id, m.bands, coalesce(d.changed_at, m.changed_at) AS at,
    coalesce(nullif(p.name, ''), p.email, m.upstream_decided_by), coalesce(d.reason, m.upstream_reason)
FROM ({found} ORDER BY changed_at DESC LIMIT %s) AS m
LEFT JOIN LATERAL (
    SELECT outcome, rule, reason, given_by_id, changed_at FROM approvals_decision
    WHERE message_id = m.id AND state = 'applied' ORDER BY id DESC LIMIT 1
) AS d ON true
LEFT JOIN people_person AS p ON p.id = d.given_by_id
WHERE coalesce(d.outcome, 'reject') = 'reject' AND coalesce(d.rule, '') = ''
ORDER BY (m.mailbox_id IS NOT DISTINCT FROM %s) DESC, at DESC
"""
_SAME = _BY_A_PERSON.format(found=f"{_REJECTED} AND shape = %s")
# First all that may be meant, by their own index: with the limit in sight the planner would rather read everything.
_NEAR = f"WITH near AS MATERIALIZED ({_REJECTED} AND bands && %s::int[])"
_NEAR += _BY_A_PERSON.format(found="SELECT * FROM near")


class RejectedRow(NamedTuple):
    """A letter that a person rejected."""

    public_id: UUID
    mailbox: int | None
    bands: list[int]
    at: datetime
    by: str | None
    reason: str | None


def contacts_of(connection: int, *, newest: int, most: int) -> dict[str, int]:
    """Return whom the newest messages of a connection went to, and how often (relies on message_left)."""
    return {str(address): int(times) for address, times in _rows(_CONTACTS, [connection, newest, most])}


def written_to(connection: int, addresses: Sequence[str]) -> list[str]:
    """Return those of these addresses that something was sent to (relies on message_addresses)."""
    if len(addresses) <= ONE_BY_ONE:
        rows = _rows(_ONE_BY_ONE, [list(addresses), connection])
    else:
        rows = _rows(_ALL_AT_ONCE, [list(addresses), connection, MOST_MESSAGES, list(addresses)])
    return [str(address) for (address,) in rows]


def rejected_with_shape(message: "Message", shape: str) -> list[RejectedRow]:
    """Return what a person rejected that says the same, of the same mailbox first (relies on message_rejected)."""
    return _rejected(_SAME, message, shape, MOST_SAME)


def rejected_with_bands(message: "Message", bands: Sequence[int]) -> list[RejectedRow]:
    """Return some of what a person rejected that may say nearly the same (relies on message_rejected_bands)."""
    return _rejected(_NEAR, message, list(bands), MOST_NEAR)


def _rejected(sql: str, message: "Message", likeness: Any, most: int) -> list[RejectedRow]:
    scope = [message.connection_id, message.sandbox, message.direction, message.pk or 0]
    return [RejectedRow(*row) for row in _rows(sql, [*scope, likeness, most, message.mailbox_id])]


def _rows(sql: str, parameters: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
    return run(sql, parameters).rows or ()
