"""What the desk knows of earlier mail when a letter is examined: who was written to, and what was rejected.

All of it is bounded: a few statements for each letter, however long the history, the queue or the list of recipients.
"""

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache

from common.fingerprint import Content
from common.postgres.statements import ANY, Part, any_of, told_together
from common.references import without_references
from mirror.models import Message
from mirror.querysets import earlier_mail
from mirror.querysets.connections import addresses_of_any
from mirror.querysets.earlier_mail import RejectedRow
from policy.allowlists.batch_judgement import judged_content
from policy.allowlists.judgement import Judged
from policy.models import Allowlist
from risk import Rejected, RiskContext
from risk.addresses import everybody
from risk.similarity import alike, bands, shape

# Contacts to compare with are those of the newest messages; whether one address was written to is asked exactly.
NEWEST, MOST_CONTACTS = 2000, 5000
MOST_ADDRESSES = 1000
# How long contacts are kept in this process. Those of a letter's own recipients are never out of date.
KEPT_SECONDS, MOST_CONNECTIONS = 300.0, 100

_kept: "OrderedDict[int, tuple[float, Mapping[str, int]]]" = OrderedDict()


def risk_context(message: Message, content: Content) -> RiskContext:
    """Return what the desk knows of earlier mail that bears on this content of a message."""
    mailboxes, has_lists = _set_up(message.connection_id)
    own = {address.rpartition("@")[2].lower() for address in mailboxes}
    recipients = [address.lower() for address in everybody(content)]
    outside = [address for address in recipients if address.rpartition("@")[2] not in own]
    judged = judged_content(message, content) if has_lists else Judged()
    return RiskContext(
        own_domains=tuple(sorted(own)),
        known_addresses=_known(message.connection_id, outside),
        rejected=rejected_like(message, content),
        off_list=[one for one in judged.outsiders if "@" in one],
        watched=[one for one in judged.strangers if "@" in one],
    )


def _set_up(connection: int) -> tuple[list[str], bool]:
    """Return the addresses of a connection's mailboxes, and whether any allowlist is in force there, by one query."""
    told = told_together(_parts(), {ANY: connection})
    return told["addresses"], told["has_lists"]


@cache
def _parts() -> dict[str, Part]:
    lists = Allowlist.objects.in_force(kind=Allowlist.Kind.RESTRICTION, connections=[ANY])
    return {"addresses": addresses_of_any(), "has_lists": any_of(lists)}


def _known(connection: int, addresses: Sequence[str]) -> Mapping[str, int]:
    """Return the contacts of a connection with how often each was written to lately, these addresses exactly."""
    contacts = _contacts(connection)
    unknown = [address for address in addresses if address not in contacts][:MOST_ADDRESSES]
    if not contacts or not unknown:
        return contacts
    return {**contacts, **dict.fromkeys(earlier_mail.written_to(connection, unknown), 1)}


def _contacts(connection: int) -> Mapping[str, int]:
    """Return whom a connection wrote to lately, as this process knows it: looked up once in a while."""
    at, contacts = _kept.get(connection, (0.0, {}))
    # Nobody known yet: the first who is must not wait.
    if contacts and time.monotonic() - at < KEPT_SECONDS:
        return contacts
    contacts = earlier_mail.contacts_of(connection, newest=NEWEST, most=MOST_CONTACTS)
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
    if same := earlier_mail.rejected_with_shape(message, own_shape):
        return _rejected(message, same[0], is_same=True)
    near = earlier_mail.rejected_with_bands(message, own_bands)
    found = next((row for row in near if alike(row.bands, own_bands)), None)
    return _rejected(message, found, is_same=False) if found else None


def _rejected(message: Message, row: RejectedRow, *, is_same: bool) -> Rejected:
    return Rejected(
        public_id=str(row.public_id),
        by=row.by or "",
        at=_moment(row.at),
        reason=without_references(row.reason or ""),
        is_same=is_same,
        in_same_mailbox=row.mailbox is not None and row.mailbox == message.mailbox_id,
    )


def _moment(at: datetime) -> str:
    return f"{at:%-d %B %Y, %H:%M} UTC"
