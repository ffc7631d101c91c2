"""Says whom a message goes to: everybody in To, Cc and Bcc, and those whom the mailbox
adds. Also reads earlier mail: how many messages went to an address or came from it, and
which addresses were written to. Allowlists and findings use both.

The copy that an account gets of monitored mail does not count, since the account is no
recipient. Each query reads a limited number of rows, whatever the size of the tables.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, Literal

from django.db import connection as database

from common.actors import Actor
from common.ascii import lowered
from common.fingerprint import Content
from common.mail_addresses import comparable_text
from common.unique_keys import text_in
from mirror.models import Message, Revision
from mirror.models.connections import scoped
from mirror.models.messages import MessageQuerySet
from mirror.states import MessageState
from risk.addresses import bare_address

# Stand for recipients that MultiMail does not show. No allowlist can contain such a
# text, so an allowlist in force refuses the message.
UNSEEN: Mapping[str, str] = {
    "to": "somebody in To (not visible with this key)",
    "cc": "somebody in Cc (not visible with this key)",
    "bcc": "somebody in Bcc (not visible with this key)",
}
# The names of the additions that are recipients.
_ADDED = ("auto_cc", "auto_bcc")


def written_to(content: Content) -> tuple[str, ...]:
    """Return all recipients of a content, each once, as they are written."""
    added = [one for name in _ADDED for one in _added(content.additions, name)]
    unseen = [words for name, words in UNSEEN.items() if name not in content.coverage]
    everybody = (*content.recipients, *added, *unseen)
    return tuple(dict.fromkeys(one for one in everybody if one))


def copied_to(revision: Revision, name: Literal["cc", "bcc"]) -> tuple[str, ...]:
    """Return who gets a copy of a stored version: those whom the message names in this
    field, and those whom the mailbox adds.
    """
    stored = revision.content
    recipients = [UNSEEN[name]]
    if name in revision.coverage:
        recipients = [str(one) for one in stored.get(name) or ()]
    added = _added(stored.get("additions") or {}, f"auto_{name}")
    return tuple(dict.fromkeys((*recipients, *added)))


def in_compared_form(recipients: Iterable[str]) -> list[str]:
    """Return recipients in the form that allowlists compare, each once. A text that is
    no address stays as it is.
    """
    return list(dict.fromkeys(comparable_text(one) for one in recipients))


def addresses_of(
    recipients: Iterable[str], *, sender: str, direction: str
) -> list[str]:
    """Return the addresses of all recipients, and of the sender if the message was
    received: in lower case, and without names.
    """
    people = (*recipients, sender) if direction == "inbound" else recipients
    addresses = (lowered(bare_address(one)) for one in people)
    # No address is longer, and PostgreSQL indexes no text of more than 2.7 kB.
    return list(
        dict.fromkeys(one for one in addresses if "@" in one and len(one) <= 320)
    )


def _added(additions: Mapping[str, str], name: str) -> list[str]:
    # The recipients that the mailbox adds, by the name of the addition.
    parts = map(str.strip, text_in(additions, name).split(","))
    return [part for part in parts if part]


# --- Earlier mail ---------------------------------------------------------------------


# How many messages with one address are counted at most.
COUNTED = 1000
# The states of messages that were approved and may have left.
_LEFT = "approved scheduled_approved sent delivered bounced complained".split()


@dataclass(frozen=True)
class Contact:
    """What earlier mail says about one address."""

    address: str
    # How many messages to it may have been sent, came from it, and were rejected.
    left: int
    received: int
    stopped: int
    first_at: datetime | None
    # The outcome of the last message to it that ended, and when.
    last_state: str
    last_at: datetime | None
    # Why MultiMail sends nothing to it any more; None if it does, or if the suppressed
    # addresses cannot be read.
    suppressed: str | None = None

    @property
    def is_cut(self) -> bool:
        """Whether there may be more messages than were counted. Then it is not known
        which came last.
        """
        return self.left + self.received + self.stopped >= COUNTED


# Raw SQL, because for each of several addresses the number of counted messages is
# limited, and Django has no lateral joins. Each address is looked up in an index
# (message_addresses, suppressed_once). MATERIALIZED hides the limit from PostgreSQL's
# planner, which else would scan the table from its start to find the first thousand.
_CONTACTS = """
SELECT wanted.address, counted.*, suppressed.reason
FROM unnest(%(addresses)s::text[]) AS wanted(address)
CROSS JOIN LATERAL (
    WITH found AS MATERIALIZED (
        SELECT state, direction, held_at, changed_at FROM mirror_message
        WHERE addresses @> ARRAY[wanted.address] AND connection_id = %(connection)s AND id <> ALL(%(besides)s)
            AND NOT sandbox AND (%(sees_connection)s OR mailbox_id = ANY(%(mailboxes)s))
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
    """Return by address what is known of each; addresses that occur neither in earlier
    mail nor among the suppressed ones are left out.

    Only the connection's mail that the actor may see counts, without tests and without
    the messages whose keys are in `besides`.
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
        if one.first_at or one.suppressed is not None
    }


# How many messages are read at most to find out which addresses were written to.
MOST_MESSAGES = 20_000


def _sent(connection: int) -> MessageQuerySet:
    """Return the messages that were sent on a connection, without tests, which reach
    nobody.
    """
    states = (MessageState.APPROVED, MessageState.SENT, MessageState.DELIVERED)
    return Message.objects.filter(
        connection=connection, state__in=states, direction="outbound", sandbox=False
    )


def contacts_of(connection: int, *, newest: int, most: int) -> dict[str, int]:
    """Return by address how many of the `newest` messages of a connection went to it;
    the `most` frequent ones (uses the index message_left).
    """
    recipients = (
        _sent(connection)
        .order_by("-changed_at")
        .values_list("addresses", flat=True)[:newest]
    )
    times = Counter(chain.from_iterable(recipients))
    return dict(sorted(times.items(), key=lambda one: (-one[1], one[0]))[:most])


def already_written_to(connection: int, addresses: Sequence[str]) -> set[str]:
    """Return those of these addresses to which something was sent before (uses the
    index message_addresses).
    """
    messages = _sent(connection).filter(addresses__overlap=list(addresses))
    recipients = messages.order_by().values_list("addresses", flat=True)[:MOST_MESSAGES]
    return set(addresses) & set(chain.from_iterable(recipients))
