"""Reads of earlier mail: what became of mail with an address, who was written to, and what was rejected.

Each read is bounded, whatever the size of the tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from common.actors import Actor, Scope
from common.postgres.rows import run
from common.postgres.statements import ANY, ValueQuery
from mirror.models import Message
from mirror.models.messages import visible_condition
from mirror.states import MessageState

# How many messages of one address are counted at most.
COUNTED = 1000
# The states of messages that were approved and may have left.
_LEFT = (
    MessageState.APPROVED,
    MessageState.SCHEDULED_APPROVED,
    MessageState.SENT,
    MessageState.DELIVERED,
    MessageState.BOUNCED,
    MessageState.COMPLAINED,
)


@dataclass(frozen=True)
class Contact:
    """One address in earlier mail: how many messages went to it, came from it, were stopped, and the last outcome."""

    address: str
    left: int
    received: int
    stopped: int
    first_at: datetime | None
    last_state: str
    last_at: datetime | None
    # Why MultiMail no longer writes to it; None where it does, or where that list cannot be read.
    suppressed: str | None = None

    @property
    def is_cut(self) -> bool:
        """Whether there are more than were counted; which came last is not known then."""
        return self.left + self.received + self.stopped >= COUNTED


# Placeholders for the addresses, and for the keys of the messages that are not counted.
_ADDRESSES, _KEYS = "{addresses}", "{keys}"


def contacts_of_actor(
    actor: Actor, addresses: Sequence[str], *, connection: int, besides: Sequence[int]
) -> dict[str, Contact]:
    """Return what is known of those addresses that the connection's mail or its suppressed addresses know.

    Only mail that the actor may see counts, without tests and without the messages whose keys are `besides`.
    """
    if not addresses:
        return {}
    named = {_ADDRESSES: list(addresses), _KEYS: list(besides), ANY: connection}
    sql, values = _contacts(actor.scopes).prepared(named)
    found = (Contact(*row) for row in run(sql, values, prepare=True).rows)
    return {one.address: one for one in found if one.first_at is not None or one.suppressed is not None}


@lru_cache(maxsize=256)
def _contacts(scopes: tuple[Scope, ...]) -> ValueQuery:
    """Return the statement for all who have these roles.

    Each address is looked up by index (message_addresses, suppressed_once). MATERIALIZED hides the limit from the
    planner, which would otherwise scan the table from its start, hoping to find a thousand soon.
    """
    actor = Actor(kind="person", id="", label="", surface="", scopes=scopes)
    seen = Message.objects.filter(visible_condition(actor), connection=ANY, sandbox=False, is_practice=False)
    conditions = ["mirror_message.addresses @> ARRAY[wanted.address]", "mirror_message.id <> ALL(%s)"]
    has_it = seen.order_by().extra(where=conditions, params=[_KEYS])  # noqa: S610 - words of ours
    inner, values = has_it.values_list("state", "direction", "held_at", "changed_at").query.sql_with_params()
    sql = f"""
        SELECT wanted.address, told.*, suppressed.reason
        FROM unnest(%s::text[]) AS wanted(address)
        CROSS JOIN LATERAL (
            WITH found(state, direction, held_at, changed_at) AS MATERIALIZED ({inner})
            SELECT count(*) FILTER (WHERE direction <> 'inbound' AND state = ANY(%s)),
                   count(*) FILTER (WHERE direction = 'inbound'),
                   count(*) FILTER (WHERE direction <> 'inbound' AND state = 'rejected'),
                   min(held_at),
                   coalesce((array_agg(state ORDER BY changed_at DESC) FILTER (WHERE state = ANY(%s)))[1], ''),
                   max(changed_at) FILTER (WHERE state = ANY(%s))
            FROM (SELECT * FROM found LIMIT {COUNTED}) AS counted
        ) AS told
        LEFT JOIN mirror_suppressedaddress AS suppressed
            ON suppressed.connection_id = %s AND suppressed.address = wanted.address
    """  # noqa: S608 - Django's own SQL
    left = [str(state) for state in _LEFT]
    ended = [*left, str(MessageState.REJECTED)]
    return ValueQuery(sql, (_ADDRESSES, *values, left, ended, ended, ANY))


# How many addresses are looked up one by one; more are looked up at once, in a limited number of messages.
ONE_BY_ONE, MOST_MESSAGES = 200, 20_000
MOST_SAME, MOST_NEAR = 50, 200

# A test message reaches nobody, so it makes no address known.
_SENT_MAIL = "state IN ('approved', 'sent', 'delivered') AND direction = 'outbound' AND NOT sandbox"
_CONTACTS = f"""
SELECT address, count(*) FROM (
    SELECT addresses FROM mirror_message
    WHERE connection_id = %s AND {_SENT_MAIL} ORDER BY changed_at DESC LIMIT %s
) AS newest, unnest(addresses) AS address GROUP BY address ORDER BY count(*) DESC, address LIMIT %s
"""  # noqa: S608 - words of ours
_ONE_BY_ONE = f"""
SELECT address FROM unnest(%s::text[]) AS address WHERE EXISTS (
    SELECT 1 FROM mirror_message WHERE connection_id = %s AND {_SENT_MAIL} AND addresses @> ARRAY[address]
)
"""  # noqa: S608 - words of ours
_ALL_AT_ONCE = f"""
SELECT DISTINCT address FROM (
    SELECT addresses FROM mirror_message WHERE addresses && %s::text[] AND connection_id = %s AND {_SENT_MAIL} LIMIT %s
) AS found, unnest(addresses) AS address WHERE address = ANY(%s::text[])
"""  # noqa: S608 - words of ours

# Rejected by a person, here or at MultiMail: neither requests for changes nor expired messages.
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
# All candidates first, by their index: with the limit visible the planner would scan everything.
_NEAR = f"WITH near AS MATERIALIZED ({_REJECTED} AND bands && %s::int[])"
_NEAR += _BY_A_PERSON.format(found="SELECT * FROM near")


class RejectedRow(NamedTuple):
    """A message that a person rejected."""

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
    """Return rejected messages with the same text, of the same mailbox first (relies on message_rejected)."""
    return _rejected(_SAME, message, shape, MOST_SAME)


def rejected_with_bands(message: "Message", bands: Sequence[int]) -> list[RejectedRow]:
    """Return rejected messages that may have nearly the same text (relies on message_rejected_bands)."""
    return _rejected(_NEAR, message, list(bands), MOST_NEAR)


def _rejected(sql: str, message: "Message", compared: Any, most: int) -> list[RejectedRow]:
    scope = [message.connection_id, message.sandbox, message.direction, message.pk or 0]
    return [RejectedRow(*row) for row in _rows(sql, [*scope, compared, most, message.mailbox_id])]


def _rows(sql: str, parameters: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
    return run(sql, parameters).rows
