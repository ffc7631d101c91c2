"""What a change of an allowlist would have done to mail that the gate refused, which no rehearsal finds as messages."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mirror.models import KnownContact
from people.actors import Actor
from policy.allowlists.applicable import reach_of
from policy.allowlists.changes import Change
from policy.allowlists.judgement import CONTACTS, OFF, Entry, StandingList, judge, patterns_of
from policy.allowlists.scopes import ListAt
from policy.models import AllowEntry, GateRefusal

LATELY = timedelta(days=30)
# So many of the newest are judged.
MOST = 2000


@dataclass(frozen=True)
class Passing:
    """Refusals that the change would have let through, the newest first; of how many that were looked at."""

    rows: tuple[GateRefusal, ...]
    looked_at: int


def would_pass(at: ListAt, change: Change, actor: Actor, *, now: datetime) -> Passing:
    """Return which refusals of the last 30 days would pass after the change, and would not pass by the lists of now."""
    seen = GateRefusal.objects.visible_to(actor).since(now - LATELY)
    mine = seen.under(connection=at.place.connection, mailbox=at.place.mailbox).for_page(None)
    refusals = list(mine[:MOST])
    patterns = patterns_of(address for one in refusals for address in one.recipients)
    reach = reach_of(connections={one.connection_id for one in refusals}, patterns=patterns)
    changed = _after(at, change, patterns)
    contacts = _contacts(refusals, (*reach.lists, at.row) if at.row else reach.lists, change)
    found = []
    for one in refusals:
        before = reach.of(connection=one.connection_id, mailbox=one.mailbox_id)
        after = [kept for kept in before if kept.list_id != changed.list_id] + [changed]
        known = contacts.get(one.connection_id) if one.connection.contacts_read_at else None
        # In the narrowest's favour or not: whether somebody passes does not hang on the order.
        if judge(one.recipients, before, known, now).outsiders and not _is_refused(one, after, known, now):
            found.append(one)
    return Passing(tuple(found), len(refusals))


def _is_refused(one: GateRefusal, lists: Sequence[StandingList], known: set[str] | None, now: datetime) -> bool:
    return bool(judge(one.recipients, lists, known, now).outsiders)


def _after(at: ListAt, change: Change, patterns: Sequence[str]) -> StandingList:
    """Return the list as it would stand, with the entries that matter here."""
    entries: dict[str, Entry] = {}
    if at.row is not None:
        rows = AllowEntry.objects.in_place().filter(allowlist=at.row, pattern__in=patterns)
        entries = {one.pattern: Entry(one.pattern, one.expires_at, one.pk) for one in rows}
    entries = {pattern: one for pattern, one in entries.items() if pattern not in set(change.remove)}
    wanted = set(patterns)
    entries |= {one.pattern: Entry(one.pattern, one.expires_at) for one in change.put if one.pattern in wanted}
    standing = StandingList(at.row.pk if at.row else None, at.label, at.mode, at.version, entries)
    return replace(standing, mode=change.mode or at.mode)


def _contacts(refusals: Sequence[GateRefusal], lists: Sequence[object], change: Change) -> dict[int, set[str]]:
    if change.mode != CONTACTS and not any(getattr(one, "mode", OFF) == CONTACTS for one in lists):
        return {}
    addresses = {address.lower() for one in refusals for address in one.recipients}
    known: dict[int, set[str]] = {one.connection_id: set() for one in refusals}
    rows = KnownContact.objects.filter(connection__in=known, address__in=addresses)
    for connection, address in rows.values_list("connection_id", "address"):
        known[connection].add(address)
    return known
