"""Asks the allowlists about many messages at once, in a few queries whatever their number and that of the entries."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from django.db.models.functions import Now

from common.fingerprint import Content
from common.patterns import compared
from common.postgres import clock
from mirror.models import Connection, KnownContact, Message
from mirror.recipients import written_to, written_to_in
from policy.allowlists.applicable import reach_of
from policy.allowlists.judgement import CONTACTS, Judged, StandingList, judge, patterns_of, strictest

# So long what was read of an account's contacts holds, by the database's clock.
CONTACTS_LAST = timedelta(days=1)


def judged_together(messages: Sequence[Message], *, now: datetime) -> dict[int, Judged]:
    """Return what the lists say to the recipients of each message by its key. Received mail is under none."""
    asked = {one.pk: written_to_in(one.revision) for one in messages if _is_asked(one) and one.revision}
    judged = {one.pk: Judged() for one in messages}
    if not asked:
        return judged
    here = [one for one in messages if one.pk in asked]
    everybody = patterns_of(address for addresses in asked.values() for address in addresses)
    reach = reach_of(connections={one.connection_id for one in here}, patterns=everybody)
    if not reach.lists:
        return judged
    lists = {one.pk: reach.of(connection=one.connection_id, mailbox=one.mailbox_id) for one in here}
    by_contacts = [one for one in here if goes_by_contacts(lists[one.pk])]
    known = contacts_among({one.connection_id for one in by_contacts}, _by_connection(by_contacts, asked))
    for one in here:
        judged[one.pk] = judge(asked[one.pk], lists[one.pk], known.get(one.connection_id), now)
    return judged


def judged_content(message: Message, content: Content) -> Judged:
    """Return what the lists say, as they stand, to the recipients of a content that is just read."""
    recipients = written_to(content) if _is_asked(message) else ()
    if not recipients:
        return Judged()
    connection = message.connection_id
    reach = reach_of(connections=[connection], patterns=patterns_of(recipients))
    lists = reach.of(connection=connection, mailbox=message.mailbox_id)
    if not lists:
        return Judged()
    here = {connection: list(filter(None, map(compared, recipients)))}
    known = contacts_among(here, here) if goes_by_contacts(lists) else {}
    return judge(recipients, lists, known.get(connection), clock())


def goes_by_contacts(lists: Iterable[StandingList]) -> bool:
    """Whether what these lists say depends on the contacts of the account."""
    return strictest(one.mode for one in lists) == CONTACTS


def contacts_among(
    connections: Iterable[int], addresses: Mapping[int, Collection[str]] | None = None
) -> dict[int, Collection[str] | None]:
    """Return by connection those of `addresses` that are contacts, all of them without; None where none were read."""
    wanted = list(connections)
    if not wanted:
        return {}
    fresh = Connection.objects.filter(pk__in=wanted, contacts_read_at__gte=Now() - CONTACTS_LAST)
    read = list(fresh.values_list("pk", flat=True))
    found: dict[int, set[str]] = {one: set() for one in read}
    rows = KnownContact.objects.filter(connection__in=read)
    if addresses is not None:
        rows = rows.filter(address__in={address for here in addresses.values() for address in here})
    for connection, address in rows.values_list("connection_id", "address"):
        found[connection].add(address)
    return {one: found.get(one) for one in wanted}


def _by_connection(messages: Iterable[Message], asked: Mapping[int, Iterable[str]]) -> dict[int, Collection[str]]:
    found: dict[int, set[str]] = {}
    for one in messages:
        found.setdefault(one.connection_id, set()).update(filter(None, map(compared, asked[one.pk])))
    return dict(found)


def _is_asked(message: Message) -> bool:
    return message.direction != "inbound"
