"""Rehearses a change of an allowlist on the mail of the last 30 days: what would have been refused, and what not.

Every message is judged as the ruling would, before the change and after it, both at this instant. Messages that go to
the same recipients are judged once, and each recipient once.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import nlargest

from mirror.models import Message
from mirror.querysets.sent import Alike
from mirror.recipients import in_compared_form, written_to_in
from people.actors import Actor
from policy.allowlists.applicable import Reach, reach_of, with_change
from policy.allowlists.batch_judgement import contacts_among
from policy.allowlists.changes import Change
from policy.allowlists.judgement import (
    CONTACTS,
    MONITOR,
    OFF,
    Entry,
    Place,
    StandingList,
    judge,
    let_through,
    recipient,
    strictest,
)
from policy.models import Allowlist

DAYS = 30
LIMIT = 50
# Messages from before recipients were stored by themselves are read so many at a time.
_AT_ONCE = 500


@dataclass(frozen=True)
class Turned:
    """One message that the change would have turned: who is refused, before it and after it."""

    message: Message
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class Rehearsal:
    """What a change would have done since then: `more` messages refused that were not, `fewer` the other way round.

    `noted` would be refused after it, were the list not watching alone. `rows` are the newest that turned.
    """

    since: datetime
    looked_at: int = 0
    more: int = 0
    fewer: int = 0
    rows: tuple[Turned, ...] = ()
    noted: int = 0


def rehearse(*, place: Place, kind: str, change: Change, actor: Actor, now: datetime, limit: int = LIMIT) -> Rehearsal:
    """Return what a change would have done to the real mail that the actor may see. Nothing is written.

    A bypass is judged at the gate alone, so the desk can say nothing of one.
    """
    since = now - timedelta(days=DAYS)
    if kind != Allowlist.Kind.RESTRICTION:
        return Rehearsal(since)
    mail = list(_mail(place, actor, since))
    sides = _sides(place, change, mail, now)
    more: list[Alike] = []
    fewer: list[Alike] = []
    noted = 0
    for alike in mail:
        was, becomes, watched = sides.of(alike)
        if was != becomes:
            (more if becomes else fewer).append(alike)
        noted += len(alike.keys) if watched else 0
    return Rehearsal(
        since=since,
        looked_at=_number(mail),
        more=_number(more),
        fewer=_number(fewer),
        rows=_rows(nlargest(limit, (key for alike in (*more, *fewer) for key in alike.keys)), sides),
        noted=noted,
    )


@dataclass
class _Side:
    """What the lists say to one recipient, before or after: worked out once for all mailboxes under the same lists."""

    lists: Sequence[StandingList]
    contacts: Collection[str] | None
    mode: str = field(init=False)

    def __post_init__(self) -> None:
        self.lists = [one for one in self.lists if one.mode != OFF]
        self.mode = strictest(one.mode for one in self.lists)


@dataclass
class _Sides:
    """The lists before a change and after it, for every mailbox whose mail is rehearsed."""

    before: Reach
    after: Reach
    contacts: Mapping[int, Collection[str] | None]
    now: datetime
    _pairs: dict[tuple[int, int | None], tuple[_Side, _Side, dict[str, tuple[bool, bool]]]] = field(
        default_factory=dict
    )
    _known: dict[object, dict[str, tuple[bool, bool]]] = field(default_factory=dict)

    def of(self, alike: Alike) -> tuple[bool, bool, bool]:
        """Return whether such mail is refused before, and after, and whether it is only noted after."""
        before, after, known = self._pair(alike.connection, alike.mailbox)
        missed_before = missed_after = False
        for address in alike.recipients:
            told = known.get(address)
            if told is None:
                told = known[address] = self._missed(address, before, after)
            missed_before, missed_after = missed_before or told[0], missed_after or told[1]
        watches = after.mode == MONITOR
        return missed_before and before.mode != MONITOR, missed_after and not watches, missed_after and watches

    def outsiders(self, message: Message) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return whom the lists refuse of one message, before and after."""
        before, after, _ = self._pair(message.connection_id, message.mailbox_id)
        asked = written_to_in(message.revision) if message.revision else ()
        told = [judge(asked, side.lists, side.contacts, self.now).outsiders for side in (before, after)]
        return told[0], told[1]

    def _missed(self, address: str, *sides: _Side) -> tuple[bool, bool]:
        one = recipient(address)
        before, after = (
            bool(side.lists) and let_through(one, side.lists, side.mode, side.contacts, self.now) is None
            for side in sides
        )
        return before, after

    def _pair(self, connection: int, mailbox: int | None) -> tuple[_Side, _Side, dict[str, tuple[bool, bool]]]:
        pair = self._pairs.get((connection, mailbox))
        if pair is None:
            contacts = self.contacts.get(connection)
            before, after = (
                _Side(reach.of(connection=connection, mailbox=mailbox), contacts) for reach in (self.before, self.after)
            )
            # Of mailboxes that are under the same lists each address is judged once.
            goes_by = connection if CONTACTS in (before.mode, after.mode) else None
            same = (goes_by, mailbox is None, *(tuple(one.list_id for one in side.lists) for side in (before, after)))
            pair = self._pairs[connection, mailbox] = (before, after, self._known.setdefault(same, {}))
        return pair


def _mail(place: Place, actor: Actor, since: datetime) -> Iterable[Alike]:
    sent = Message.objects.visible_to(actor).really_sent_since(since).at(place.connection, place.mailbox)
    yield from sent.alike()
    for message in sent.filter(written_to=None).select_related("revision").iterator(chunk_size=_AT_ONCE):
        assert message.revision is not None, "only what was fetched is rehearsed"
        recipients = in_compared_form(written_to_in(message.revision))
        yield Alike(message.connection_id, message.mailbox_id, recipients, [message.pk])


def _sides(place: Place, change: Change, mail: Sequence[Alike], now: datetime) -> _Sides:
    everybody = {address for alike in mail for address in alike.recipients}
    patterns = {pattern for address in everybody for pattern in recipient(address).patterns}
    connections = {alike.connection for alike in mail}
    target = Allowlist.objects.of_place(place.connection, place.mailbox)
    before = reach_of(connections=connections, patterns=patterns, also=target)
    after = with_change(before, target, mode=change.mode, put=_entries(change), remove=change.remove)
    asks = any(one.mode == CONTACTS for reach in (before, after) for one in reach.lists)
    contacts = contacts_among(connections, dict.fromkeys(connections, everybody)) if asks else {}
    return _Sides(before, after, contacts, now)


def _entries(change: Change) -> list[Entry]:
    return [Entry(one.pattern, one.expires_at) for one in change.put]


def _rows(keys: Sequence[int], sides: _Sides) -> tuple[Turned, ...]:
    found = Message.objects.filter(pk__in=keys).select_related("revision", "mailbox", "connection").order_by("-pk")
    return tuple(Turned(message, *sides.outsiders(message)) for message in found)


def _number(mail: Iterable[Alike]) -> int:
    return sum(len(alike.keys) for alike in mail)
