"""What the desk knows of earlier mail when a letter is examined: who was written to, and what was rejected.

All of it is bounded: a few statements for each letter, however long the history, the queue or the list of recipients.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from approvals.models import Message
from approvals.risk import Rejected, RiskContext
from approvals.risk.addresses import everybody
from approvals.risk.likeness import alike, bands, shape
from common.fingerprint import Content
from common.postgres.rows import run

# Contacts to compare with are those of the newest messages; whether one address was written to is asked exactly.
NEWEST, MOST_CONTACTS = 2000, 5000
# So many are asked about one by one; of more, all at once and no further than so many messages.
ONE_BY_ONE, MOST_MESSAGES = 200, 20_000
MOST_ADDRESSES = 1000
# How long contacts are kept in this process. Those of a letter's own recipients are never out of date.
KEPT_SECONDS, MOST_CONNECTIONS = 300.0, 100

_LEFT = "state IN ('approved', 'sent', 'delivered')"
_CONTACTS = f"""
SELECT address, count(*) FROM (
    SELECT addresses FROM approvals_message
    WHERE connection_id = %s AND {_LEFT} AND direction = 'outbound' ORDER BY changed_at DESC LIMIT %s
) AS newest, unnest(addresses) AS address GROUP BY address ORDER BY count(*) DESC, address LIMIT %s
"""  # noqa: S608 - words of ours
_ONE_BY_ONE = f"""
SELECT address FROM unnest(%s::text[]) AS address WHERE EXISTS (
    SELECT 1 FROM approvals_message
    WHERE connection_id = %s AND {_LEFT} AND direction = 'outbound' AND addresses @> ARRAY[address]
)
"""  # noqa: S608 - words of ours
_ALL_AT_ONCE = f"""
SELECT DISTINCT address FROM (
    SELECT addresses FROM approvals_message
    WHERE addresses && %s::text[] AND connection_id = %s AND {_LEFT} AND direction = 'outbound' LIMIT %s
) AS found, unnest(addresses) AS address WHERE address = ANY(%s::text[])
"""  # noqa: S608 - words of ours

# What a person rejected, here or at MultiMail: neither what was sent back for changes nor what ran out of time.
_BY_A_PERSON = """
LEFT JOIN LATERAL (
    SELECT outcome, rule, reason, given_by_id, changed_at FROM approvals_decision
    WHERE message_id = m.id AND state = 'applied' ORDER BY id DESC LIMIT 1
) AS d ON true
LEFT JOIN people_person AS p ON p.id = d.given_by_id
WHERE coalesce(d.outcome, 'reject') = 'reject' AND coalesce(d.rule, '') = ''
"""
_COLUMNS = """
m.public_id, m.mailbox_id, m.bands, coalesce(d.changed_at, m.changed_at) AS at,
coalesce(nullif(p.name, ''), p.email, m.upstream_decided_by), coalesce(d.reason, m.upstream_reason)
"""
_LATELY = "state = 'rejected' AND connection_id = %s AND sandbox = %s AND direction = %s AND id <> %s"
_LATELY += " AND changed_at > now() - interval '90 days'"
_SAME = f"""
SELECT {_COLUMNS} FROM (
    SELECT * FROM approvals_message WHERE {_LATELY} AND shape = %s ORDER BY changed_at DESC LIMIT 50
) AS m {_BY_A_PERSON} ORDER BY (m.mailbox_id IS NOT DISTINCT FROM %s) DESC, at DESC LIMIT 1
"""  # noqa: S608 - words of ours
_NEAR = f"""
SELECT {_COLUMNS} FROM (
    SELECT * FROM approvals_message WHERE {_LATELY} AND bands && %s::int[] LIMIT 200
) AS m {_BY_A_PERSON} ORDER BY (m.mailbox_id IS NOT DISTINCT FROM %s) DESC, at DESC
"""  # noqa: S608 - words of ours

# Goes upstream at the end of a reason; people need not read it.
_REFERENCE = re.compile(r"\s*\[countersign:[0-9A-Z]+\]\s*")

_kept: "OrderedDict[int, tuple[float, Mapping[str, int]]]" = OrderedDict()


def risk_context(message: Message, content: Content) -> RiskContext:
    """Return what the desk knows of earlier mail that bears on this content of a message."""
    mailboxes = message.connection.mailboxes.exclude(address="").values_list("address", flat=True)
    own = {address.rpartition("@")[2].lower() for address in mailboxes}
    recipients = [address.lower() for address in everybody(content)]
    outside = [address for address in recipients if address.rpartition("@")[2] not in own]
    return RiskContext(
        own_domains=tuple(sorted(own)),
        known_addresses=_known(message.connection_id, outside),
        rejected=rejected_like(message, content),
    )


def _known(connection: int, addresses: Sequence[str]) -> Mapping[str, int]:
    """Return the contacts of a connection with how often each was written to lately, these addresses exactly."""
    contacts = _contacts(connection)
    unknown = [address for address in addresses if address not in contacts][:MOST_ADDRESSES]
    if not unknown:
        return contacts
    if len(unknown) <= ONE_BY_ONE:
        found = run(_ONE_BY_ONE, [unknown, connection])
    else:
        found = run(_ALL_AT_ONCE, [unknown, connection, MOST_MESSAGES, unknown])
    return {**contacts, **dict.fromkeys((address for (address,) in _rows(found)), 1)}


def _contacts(connection: int) -> Mapping[str, int]:
    """Return whom a connection wrote to lately, as this process knows it: looked up once in a while."""
    at, contacts = _kept.get(connection, (0.0, {}))
    # Nobody known yet: the first who is must not wait.
    if contacts and time.monotonic() - at < KEPT_SECONDS:
        return contacts
    contacts = dict(_rows(run(_CONTACTS, [connection, NEWEST, MOST_CONTACTS])))
    _kept[connection] = (time.monotonic(), contacts)
    while len(_kept) > MOST_CONNECTIONS:
        _kept.popitem(last=False)
    return contacts


def forget_contacts() -> None:
    """Look everything up anew: for tests, whose history changes faster than anybody's."""
    _kept.clear()


def rejected_like(message: Message, content: Content) -> Rejected | None:
    """Return a letter like this one that a person rejected: the same first, one of the same mailbox first, the newest.

    Test messages are compared with test messages alone. A next version of what was sent back is none, whatever else
    was rejected: its writer was asked for it.
    """
    own_shape, own_bands = shape(content), bands(content)
    if not own_shape or message.answers_id is not None:
        return None
    scope = [message.connection_id, message.sandbox, message.direction, message.pk or 0]
    if same := run(_SAME, [*scope, own_shape, message.mailbox_id]).one():
        return _rejected(message, same, is_same=True)
    near = _rows(run(_NEAR, [*scope, own_bands, message.mailbox_id]))
    found = next((row for row in near if alike(row[2], own_bands)), None)
    return _rejected(message, found, is_same=False) if found else None


def _rejected(message: Message, row: Sequence[Any], *, is_same: bool) -> Rejected:
    public_id, mailbox, _, at, by, reason = row
    return Rejected(
        public_id=str(public_id),
        by=by or "",
        at=_moment(at),
        reason=_REFERENCE.sub(" ", reason or "").strip(),
        is_same=is_same,
        in_same_mailbox=mailbox is not None and mailbox == message.mailbox_id,
    )


def _moment(at: datetime) -> str:
    return f"{at:%-d %B %Y, %H:%M} UTC"


def _rows(answer: Any) -> Iterable[Sequence[Any]]:
    return answer.rows or ()
