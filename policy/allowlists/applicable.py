"""Reads the lists that apply to messages and judges many messages at once; counts what their entries let through.

The cost does not grow with the lists: entries are found by their patterns (index allow_entry_pattern).
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from common.fingerprint import Content
from common.patterns import read_pattern, stored_pattern
from common.postgres import clock
from common.postgres.statements import ValueQuery, read_values
from mirror.models import Connection, KnownContact, Message
from mirror.recipients import in_compared_form, written_to, written_to_in
from policy.allowlists.judgement import CONTACTS, ApplicableList, Entry, Judgement, judge, patterns_of, strictest
from policy.models import AllowEntry, Allowlist

log = logging.getLogger(__name__)

# How long the contacts that were read of an account are valid, by the database's clock.
CONTACTS_LAST = timedelta(days=1)


@dataclass(frozen=True)
class ListsInForce:
    """All lists in force of some connections, with the entries that were asked for."""

    lists: Sequence[Allowlist]
    # By the key of the list; None for one that is not stored yet.
    entries: Mapping[int | None, Mapping[str, Entry]]

    def for_mailbox(self, connection: int, mailbox: int | None) -> list[ApplicableList]:
        """Return the lists that apply to a mailbox, the narrowest first.

        Mail whose mailbox is not known may belong to any mailbox of its connection: the modes of all of them apply to
        it, and none of their entries.
        """
        found = []
        for one in self.lists:
            if one.mailbox_id is None and one.connection_id in (None, connection):
                found.append((2 if one.connection_id is None else 1, self._applicable(one, counts=True)))
            elif one.mailbox and one.mailbox.connection_id == connection and mailbox in (None, one.mailbox_id):
                found.append((0, self._applicable(one, counts=mailbox is not None)))
        return [one for _, one in sorted(found, key=lambda pair: pair[0])]

    def _applicable(self, one: Allowlist, *, counts: bool) -> ApplicableList:
        label = str(one.mailbox or one.connection or "all")
        return ApplicableList(one.pk, label, one.mode, one.version, self.entries.get(one.pk, {}) if counts else {})


def lists_in_force(
    *, connections: Collection[int], patterns: Collection[str], also: Allowlist | None = None
) -> ListsInForce:
    """Return the restrictions in force for these connections with the entries of these patterns, in two queries.

    `also` is a list that is read whatever its mode is.
    """
    lists = list(Allowlist.objects.in_force(kind=Allowlist.Kind.RESTRICTION, connections=connections))
    lists += [also] if also is not None and (also.pk is None or also not in lists) else []
    entries: dict[int | None, dict[str, Entry]] = {}
    stored = [one.pk for one in lists if one.pk is not None]
    for list_id, *entry in AllowEntry.objects.naming(patterns, lists=stored):
        entries.setdefault(list_id, {})[entry[0]] = Entry(*entry)
    return ListsInForce(lists, entries)


def with_change(
    in_force: ListsInForce, changed: Allowlist, *, mode: str | None, put: Iterable[Entry], remove: Iterable[str]
) -> ListsInForce:
    """Return the lists as they would be after this change of one of them."""
    other = copy(changed)
    other.mode = mode or changed.mode
    entries = dict(in_force.entries.get(changed.pk, {}))
    for pattern in remove:
        entries.pop(stored_pattern(pattern), None)
    entries |= {pattern: replace(one, pattern=pattern) for one in put for pattern in (read_pattern(one.pattern),)}
    lists = [other if one is changed or one == changed else one for one in in_force.lists]
    return ListsInForce(lists, {**in_force.entries, changed.pk: entries})


def applicable_lists(*, connection: int, mailbox: int | None, patterns: Collection[str]) -> list[ApplicableList]:
    """Return the restrictions that apply to one mailbox."""
    return lists_in_force(connections=[connection], patterns=patterns).for_mailbox(connection, mailbox)


def judge_messages(messages: Sequence[Message], *, now: datetime) -> dict[int, Judgement]:
    """Return the judgement of each message by its key. No list applies to received mail."""
    asked = {one.pk: written_to_in(one.revision) for one in messages if _is_restricted(one) and one.revision}
    judged = {one.pk: Judgement() for one in messages}
    if not asked:
        return judged
    here = [one for one in messages if one.pk in asked]
    everybody = patterns_of(address for addresses in asked.values() for address in addresses)
    in_force = lists_in_force(connections={one.connection_id for one in here}, patterns=everybody)
    if not in_force.lists:
        return judged
    lists = {one.pk: in_force.for_mailbox(one.connection_id, one.mailbox_id) for one in here}
    by_contacts = [one for one in here if _goes_by_contacts(lists[one.pk])]
    addresses = in_compared_form(address for one in by_contacts for address in asked[one.pk])
    known = contacts_among({one.connection_id for one in by_contacts}, addresses)
    for one in here:
        judged[one.pk] = judge(asked[one.pk], lists[one.pk], known.get(one.connection_id), now)
    return judged


def applying_part(message: Message) -> ValueQuery:
    """Return the query for the lists that apply to a message, whose value `judge_by` takes."""
    if message.revision is None or not _is_restricted(message):
        return ValueQuery("NULL")
    return _lists_part(message, written_to_in(message.revision))


def judge_by(stored: Sequence[Mapping[str, Any]] | None, message: Message, *, now: datetime) -> Judgement:
    """Return the judgement of a message by the lists that `applying_part` found, as `judge_messages` does."""
    if not stored or message.revision is None:
        return Judgement()
    return _judged(message, written_to_in(message.revision), stored, now)


def judge_content(message: Message, content: Content) -> Judgement:
    """Return the judgement of a content that has just been read, by the current lists."""
    recipients = written_to(content) if _is_restricted(message) else ()
    if not recipients:
        return Judgement()
    found = read_values({"lists": _lists_part(message, recipients)})
    return _judged(message, recipients, found["lists"], found["clock"])


def _lists_part(message: Message, recipients: Iterable[str]) -> ValueQuery:
    connection, mailbox = message.connection_id, message.mailbox_id
    return Allowlist.objects.applying_part(connection=connection, mailbox=mailbox, patterns=patterns_of(recipients))


def _judged(
    message: Message, recipients: Sequence[str], stored: Iterable[Mapping[str, Any]], now: datetime
) -> Judgement:
    connection, lists = message.connection_id, _narrowest_first(stored, is_mailbox_known=message.mailbox_id is not None)
    known = contacts_among([connection], in_compared_form(recipients)) if _goes_by_contacts(lists) else {}
    return judge(recipients, lists, known.get(connection), now)


def _narrowest_first(stored: Iterable[Mapping[str, Any]], *, is_mailbox_known: bool) -> list[ApplicableList]:
    """Return the lists of one mailbox in the order and with the entries that `ListsInForce.for_mailbox` gives them."""
    found = []
    for one in stored:
        counts = is_mailbox_known or not one["is_of_mailbox"]
        entries = {pattern: Entry(pattern, _time(ends), key) for pattern, ends, key in one["entries"] if counts}
        width = 0 if one["is_of_mailbox"] else 2 if one["is_for_all"] else 1
        found.append((width, ApplicableList(one["list_id"], one["label"], one["mode"], one["version"], entries)))
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _goes_by_contacts(lists: Iterable[ApplicableList]) -> bool:
    """Whether the judgement of these lists depends on the account's contacts."""
    return strictest(one.mode for one in lists) == CONTACTS


def contacts_among(connections: Collection[int], addresses: Collection[str]) -> dict[int, set[str]]:
    """Return by connection those of `addresses` that are contacts, for connections that were read lately enough."""
    if not connections:
        return {}
    fresh = Connection.objects.filter(pk__in=connections, contacts_read_at__gte=Now() - CONTACTS_LAST)
    return stored_contacts(list(fresh.values_list("pk", flat=True)), addresses)


def stored_contacts(connections: Iterable[int], addresses: Collection[str]) -> dict[int, set[str]]:
    """Return by connection those of `addresses` that are contacts as last read, however long ago."""
    found: dict[int, set[str]] = {one: set() for one in connections}
    rows = KnownContact.objects.filter(connection__in=found, address__in=addresses)
    for connection, address in rows.values_list("connection_id", "address"):
        found[connection].add(address)
    return found


def _is_restricted(message: Message) -> bool:
    return message.direction != "inbound"


@transaction.atomic
def count_hits(*, limit: int) -> int:
    """Count the hits of some messages that were not counted yet; return how many messages."""
    # Locked, so that none is counted twice; one locked by a decision is counted later.
    rows = Message.objects.to_count().select_for_update(of=("self",), no_key=True, skip_locked=True)
    messages = list(rows.select_related("revision")[:limit])
    if not messages:
        return 0
    hits = _hits([one for one in messages if not one.sandbox and _is_readable(one)])
    # In a fixed order, so that two counts at once do not deadlock.
    for entry, number in sorted(hits.items()):
        AllowEntry.objects.filter(pk=entry).update(hits=F("hits") + number, last_hit_at=Now())
    Message.objects.filter(pk__in=[one.pk for one in messages]).update(hits_counted_at=Now())
    return len(messages)


def _is_readable(message: Message) -> bool:
    """Whether the stored content names recipients; one that does not must not keep all others from being counted."""
    content = message.revision.content if message.revision else None
    if not isinstance(content, dict):
        log.error("hits not counted: the content is not readable", extra={"email": message.upstream_id})
    return isinstance(content, dict)


def _hits(messages: list[Message]) -> Counter[int]:
    """Return by entry how many messages it let through; a message counts once for each entry."""
    found: Counter[int] = Counter()
    for judged in judge_messages(messages, now=clock()).values():
        found.update({listed.entry for listed in judged.passed.values() if listed.entry is not None})
    return found
