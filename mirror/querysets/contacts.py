"""What became of earlier mail with an address, counted in the database: one statement for all addresses of a letter."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import models

from common.postgres.rows import run
from mirror.states import MessageState

# Of one address so many messages are looked at: its number is told up to there, and its last outcome.
COUNTED = 1000
# That it was let go, whatever became of it then.
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
    """One address in earlier mail: letters that left to it, that came from it, that were stopped; and the last end."""

    address: str
    left: int
    received: int
    stopped: int
    first_at: datetime | None
    last_state: str
    last_at: datetime | None
    # Why MultiMail writes to it no more; None where it does, or where nobody may read that.
    suppressed: str | None = None

    @property
    def is_cut(self) -> bool:
        """Whether there are more than were counted; which came last is not known then."""
        return self.left + self.received + self.stopped >= COUNTED


def contacts_in(
    messages: "models.QuerySet[models.Model]", addresses: Sequence[str], *, connection: int
) -> dict[str, Contact]:
    """Return what `messages`, and the connection's list of the suppressed, tell of those addresses that they know.

    Each address is looked up by itself in message_addresses and suppressed_once, whatever else is in the tables.
    MATERIALIZED keeps the limit from the planner, which would read the table from its start in the hope of meeting a
    thousand soon.
    """
    if not addresses:
        return {}
    columns = ("state", "direction", "held_at", "changed_at")
    has_it = messages.order_by().extra(where=["mirror_message.addresses @> ARRAY[wanted.address]"])
    inner, values = has_it.values_list(*columns).query.sql_with_params()
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
    left = list(_LEFT)
    ended = [*left, MessageState.REJECTED]
    answer = run(sql, [list(addresses), *values, left, ended, ended, connection])
    found = (Contact(*row) for row in answer.rows or ())
    return {one.address: one for one in found if one.first_at is not None or one.suppressed is not None}
