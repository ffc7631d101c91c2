"""Returns exactly whom a message goes to, for the allowlists: To, Cc, Bcc, and whom the
mailbox adds by itself; and reads earlier mail: what became of mail with an address, and
who was written to.

The operator's own copy of monitored mail is not asked about: it goes to the account,
not to a recipient. Each read is bounded, whatever the size of the tables.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, Literal

from django.db import connection as database

from common.actors import Actor
from common.fingerprint import Content
from common.mail_addresses import comparable_text
from mirror.models import Message, Revision
from mirror.models.connections import scoped
from mirror.models.messages import MessageQuerySet
from mirror.states import MessageState
from risk.addresses import bare_address

# Stands for recipients that the source does not show. No list can contain it, so lists
# in force refuse it.
UNSEEN: Mapping[str, str] = {
    "to": "somebody in To (not visible with this key)",
    "cc": "somebody in Cc (not visible with this key)",
    "bcc": "somebody in Bcc (not visible with this key)",
}
_ADDED = ("auto_cc", "auto_bcc")


def written_to(content: Content) -> tuple[str, ...]:
    """Return each recipient of a content once, as written."""
    added = [one for name in _ADDED for one in _added(content.additions, name)]
    unseen = [words for name, words in UNSEEN.items() if name not in content.coverage]
    everybody = (*content.recipients, *added, *unseen)
    return tuple(dict.fromkeys(one for one in everybody if one))


def written_to_in(revision: Revision) -> tuple[str, ...]:
    """Return the recipients of a stored version, without reading the rest of it."""
    stored = revision.content
    to, cc, bcc = (
        tuple(map(str, stored.get(name) or ())) for name in ("to", "cc", "bcc")
    )
    return written_to(
        Content(
            to=to,
            cc=cc,
            bcc=bcc,
            additions=stored.get("additions") or {},
            coverage=tuple(revision.coverage),
        )
    )


def copied_to(revision: Revision, name: Literal["cc", "bcc"]) -> tuple[str, ...]:
    """Return who gets a stored version as a copy: those whom the message names, and
    whom the mailbox adds by itself.
    """
    stored = revision.content
    named = [UNSEEN[name]]
    if name in revision.coverage:
        named = [str(one) for one in stored.get(name) or ()]
    added = _added(stored.get("additions") or {}, f"auto_{name}")
    return tuple(dict.fromkeys((*named, *added)))


def in_compared_form(recipients: Iterable[str]) -> list[str]:
    """Return recipients as they are stored to be judged in great numbers; what is no
    address stays as it is.
    """
    return list(dict.fromkeys(comparable_text(one) for one in recipients))


def addresses_of(
    recipients: Iterable[str], *, sender: str, direction: str
) -> list[str]:
    """Return everybody who gets a message and, where it came in, who wrote it:
    normalised, without names.
    """
    who = (*recipients, sender) if direction == "inbound" else recipients
    found = (bare_address(one).lower() for one in who)
    return list(dict.fromkeys(one for one in found if "@" in one))


def _added(additions: Mapping[str, str], name: str) -> list[str]:
    parts = map(str.strip, str(additions.get(name) or "").split(","))
    return [part for part in parts if part]


# --- Earlier mail ---------------------------------------------------------------------


# How many messages of one address are counted at most.
COUNTED = 1000
# The states of messages that were approved and may have left.
_LEFT = ["approved", "scheduled_approved", "sent", "delivered", "bounced", "complained"]


@dataclass(frozen=True)
class Contact:
    """One address in earlier mail: how many messages went to it, came from it, were
    stopped, and the last outcome.
    """

    address: str
    left: int
    received: int
    stopped: int
    first_at: datetime | None
    last_state: str
    last_at: datetime | None
    # Why MultiMail no longer writes to it; None where it does, or where that list
    # cannot be read.
    suppressed: str | None = None

    @property
    def is_cut(self) -> bool:
        """Whether there are more than were counted; which came last is not known then."""
        return self.left + self.received + self.stopped >= COUNTED


# Each address is looked up by index (message_addresses, suppressed_once). Django cannot
# limit how many messages are counted for each of several addresses: it has no lateral
# joins. MATERIALIZED hides the limit from the planner, which would otherwise scan the
# table from its start, hoping to find a thousand soon.
_CONTACTS = """
SELECT wanted.address, counted.*, suppressed.reason
FROM unnest(%(addresses)s::text[]) AS wanted(address)
CROSS JOIN LATERAL (
    WITH found AS MATERIALIZED (
        SELECT state, direction, held_at, changed_at FROM mirror_message
        WHERE addresses @> ARRAY[wanted.address] AND connection_id = %(connection)s AND id <> ALL(%(besides)s)
            AND NOT sandbox AND NOT is_local AND (%(sees_connection)s OR mailbox_id = ANY(%(mailboxes)s))
    )
    SELECT count(*) FILTER (WHERE direction <> 'inbound' AND state = ANY(%(left)s)),
           count(*) FILTER (WHERE direction = 'inbound'),
           count(*) FILTER (WHERE direction <> 'inbound' AND state = 'rejected'),
           min(held_at),
           coalesce((array_agg(state ORDER BY changed_at DESC) FILTER (WHERE state = ANY(%(ended)s)))[1], ''),
           max(changed_at) FILTER (WHERE state = ANY(%(ended)s))
    FROM (SELECT * FROM found LIMIT %(most)s) AS first
) AS counted
LEFT JOIN mirror_suppressedaddress AS suppressed
    ON suppressed.connection_id = %(connection)s AND suppressed.address = wanted.address
"""


def contacts_of_actor(
    actor: Actor, addresses: Sequence[str], *, connection: int, besides: Sequence[int]
) -> dict[str, Contact]:
    """Return what is known of those addresses that the connection's mail or its
    suppressed addresses know.

    Only mail that the actor may see counts, without tests and without the messages
    whose keys are `besides`.
    """
    if not addresses:
        return {}
    connections, mailboxes = scoped(actor)
    parameters: dict[str, Any] = {
        "addresses": list(addresses),
        "connection": connection,
        "besides": list(besides),
        "sees_connection": actor.sees_all() or connection in connections,
        "mailboxes": mailboxes,
        "left": _LEFT,
        "ended": [*_LEFT, "rejected"],
        "most": COUNTED,
    }
    with database.cursor() as cursor:
        cursor.execute(_CONTACTS, parameters)
        contacts = [Contact(*row) for row in cursor.fetchall()]
    return {
        one.address: one
        for one in contacts
        if one.first_at is not None or one.suppressed is not None
    }


# How many messages are read at most to find out who of several addresses was written
# to.
MOST_MESSAGES = 20_000


def _sent(connection: int) -> MessageQuerySet:
    """Return what was sent on a connection; a test message reaches nobody, so it makes
    no address known.
    """
    states = (MessageState.APPROVED, MessageState.SENT, MessageState.DELIVERED)
    return Message.objects.filter(
        connection=connection, state__in=states, direction="outbound", sandbox=False
    )


def contacts_of(connection: int, *, newest: int, most: int) -> dict[str, int]:
    """Return whom the newest messages of a connection went to, and how often (relies on
    message_left).
    """
    recipients = (
        _sent(connection)
        .order_by("-changed_at")
        .values_list("addresses", flat=True)[:newest]
    )
    times = Counter(chain.from_iterable(recipients))
    return dict(sorted(times.items(), key=lambda one: (-one[1], one[0]))[:most])


def already_written_to(connection: int, addresses: Sequence[str]) -> set[str]:
    """Return those of these addresses that something was sent to (relies on
    message_addresses).
    """
    found = _sent(connection).filter(addresses__overlap=list(addresses))
    recipients = found.order_by().values_list("addresses", flat=True)[:MOST_MESSAGES]
    return set(addresses) & set(chain.from_iterable(recipients))
