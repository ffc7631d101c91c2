"""Rehearses a change of an allowlist on the mail of the last 30 days: what it would
refuse or let through.

Messages are judged as the ruling would, before the change and after it, both at this
instant; messages to the same recipients once, and each recipient once. Mail that the
gate refused is no message here and is rehearsed separately.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import nlargest
from itertools import chain
from operator import itemgetter

from common.actors import Actor
from mirror.models import Message
from mirror.models.messages import SameRecipients, recipients_in
from mirror.recipients import in_compared_form, written_to_in
from policy.allowlists.changes import Change
from policy.allowlists.judgement import (
    CONTACTS,
    MONITOR,
    OFF,
    ApplicableList,
    Entry,
    ListScope,
    ListsInForce,
    contacts_among,
    judge,
    let_through,
    lists_in_force,
    patterns_of,
    stored_contacts,
    strictest,
    with_change,
)
from policy.models import Allowlist, GateRefusal

DAYS = 30
LIMIT = 50
# How many refusals are judged, the newest first.
MAX_REFUSALS = 2000
# How many messages without stored recipients are read at a time.
_CHUNK = 500


@dataclass(frozen=True)
class ChangedMessage:
    """One message that the change would have refused or let through: who is refused,
    before it and after it.
    """

    message: Message
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class Rehearsal:
    """What a change would have done since then: `more` messages refused that were not,
    `fewer` the other way round.

    `noted` would be refused after it if the list were in force. `rows` are the newest
    messages that it affects. `blocked` are the recipients because of whom messages are
    refused that were not, with how many messages each.
    """

    looked_at: int
    more: int
    fewer: int
    rows: tuple[ChangedMessage, ...]
    noted: int
    blocked: Mapping[str, int] = field(default_factory=dict)


def rehearse(
    *, scope: ListScope, change: Change, actor: Actor, now: datetime, limit: int = LIMIT
) -> Rehearsal:
    """Return what a change of a restriction would have done to the real mail that the
    actor may see.

    Nothing is written. A bypass is judged at the gate alone, so the desk can say
    nothing of one.
    """
    mail = list(_mail(scope, actor, now - timedelta(days=DAYS)))
    everybody = {
        address for *_, recipients in mail for address in recipients_in(recipients)
    }
    patterns = {address: tuple(patterns_of([address])) for address in everybody}
    connections = {connection for connection, *_ in mail}
    before, after = _before_and_after(
        scope, change, connections, set(chain.from_iterable(patterns.values()))
    )
    contacts: Mapping[int, Collection[str]] = {}
    if _asks_contacts(before, after):
        contacts = contacts_among(connections, everybody)
    sides = _Sides(before, after, contacts)
    looked_at = more = fewer = noted = 0
    turned: list[SameRecipients] = []
    blocked: Counter[str] = Counter()
    for group in mail:
        connection, mailbox, number, _, _, stored = group
        was_in, is_in, missed = sides.of(connection, mailbox)
        recipients = recipients_in(stored)
        for one in recipients:
            if one not in missed:
                missed[one] = (
                    was_in.misses(patterns[one], now),
                    is_in.misses(patterns[one], now),
                )
        missed_after = [one for one in dict.fromkeys(recipients) if missed[one][1]]
        was = was_in.mode != MONITOR and any(missed[one][0] for one in recipients)
        becomes = is_in.mode != MONITOR and bool(missed_after)
        looked_at += number
        if missed_after and is_in.mode == MONITOR:
            noted += number
        if was == becomes:
            continue
        turned.append(group)
        if was:
            fewer += number
            continue
        more += number
        for address in missed_after:
            blocked[address] += number
    # The newest messages are all in the groups with the newest.
    latest = nlargest(limit, turned, key=itemgetter(3))
    keys = nlargest(limit, (key for *_, keys, _ in latest for key in json.loads(keys)))
    newest = Message.objects.filter(pk__in=keys).order_by("-pk")
    rows = []
    for message in newest.select_related("revision", "mailbox", "connection"):
        asked = written_to_in(message.revision) if message.revision else ()
        was_in, is_in, _ = sides.of(message.connection_id, message.mailbox_id)
        refused = [
            judge(asked, side.lists, side.contacts, now).refused
            for side in (was_in, is_in)
        ]
        rows.append(ChangedMessage(message, *refused))
    return Rehearsal(looked_at, more, fewer, tuple(rows), noted, blocked)


@dataclass
class _Side:
    """The judgement of recipients before or after, computed once for all mailboxes
    under the same lists.
    """

    lists: Sequence[ApplicableList]
    contacts: Collection[str] | None
    mode: str = field(init=False)

    def __post_init__(self) -> None:
        self.lists = [one for one in self.lists if one.mode != OFF]
        self.mode = strictest(one.mode for one in self.lists)

    def misses(self, patterns: Sequence[str], now: datetime) -> bool:
        """Whether there are lists, and none lets the recipient with these patterns
        through.
        """
        return bool(self.lists) and not let_through(
            patterns, self.lists, self.mode, self.contacts, now
        )


# The lists of a mailbox before a change and after it, and which recipients each misses,
# as far as that is known.
_Pair = tuple[_Side, _Side, dict[str, tuple[bool, bool]]]


@dataclass
class _Sides:
    """The lists before a change and after it, for every mailbox whose mail is
    rehearsed.
    """

    before: ListsInForce
    after: ListsInForce
    contacts: Mapping[int, Collection[str]]
    _pairs: dict[tuple[int, int | None], _Pair] = field(default_factory=dict)
    _missed: dict[object, dict[str, tuple[bool, bool]]] = field(default_factory=dict)

    def of(self, connection: int, mailbox: int | None) -> _Pair:
        """Return the lists for one mailbox; None for mail whose mailbox is not known."""
        if (connection, mailbox) not in self._pairs:
            contacts = self.contacts.get(connection)
            before = _Side(self.before.for_mailbox(connection, mailbox), contacts)
            after = _Side(self.after.for_mailbox(connection, mailbox), contacts)
            # For mailboxes under the same lists each address is judged once.
            same = (
                connection if CONTACTS in (before.mode, after.mode) else None,
                mailbox is None,
                tuple(one.list_id for one in before.lists),
                tuple(one.list_id for one in after.lists),
            )
            missed = self._missed.setdefault(same, {})
            self._pairs[connection, mailbox] = (before, after, missed)
        return self._pairs[connection, mailbox]


def _mail(scope: ListScope, actor: Actor, since: datetime) -> Iterable[SameRecipients]:
    sent = (
        Message.objects.visible_to(actor)
        .really_sent_since(since)
        .at(scope.connection, scope.mailbox)
    )
    groups = sent.alike()
    worked_out = [group for group in groups if group[-1] is not None]
    yield from worked_out
    if len(worked_out) == len(groups):
        return
    rest = sent.filter(written_to=None).select_related("revision")
    for message in rest.iterator(chunk_size=_CHUNK):
        assert message.revision is not None, "only what was fetched is rehearsed"
        # Without spaces, as PostgreSQL writes it.
        recipients = json.dumps(
            in_compared_form(written_to_in(message.revision)), separators=(",", ":")
        )
        yield (
            message.connection_id,
            message.mailbox_id,
            1,
            message.pk,
            f"[{message.pk}]",
            recipients,
        )


def _before_and_after(
    scope: ListScope,
    change: Change,
    connections: Collection[int],
    patterns: Collection[str],
) -> tuple[ListsInForce, ListsInForce]:
    target = Allowlist.objects.for_scope(
        scope.connection, scope.mailbox, Allowlist.Kind.RESTRICTION
    )
    before = lists_in_force(connections=connections, patterns=patterns, also=target)
    put = [Entry(one.pattern, one.expires_at) for one in change.put]
    return before, with_change(
        before, target, mode=change.mode, put=put, remove=change.remove
    )


def _asks_contacts(*sides: ListsInForce) -> bool:
    return any(one.mode == CONTACTS for side in sides for one in side.lists)


@dataclass(frozen=True)
class PassingRefusals:
    """Refusals that the change would have let through, the newest first; and how many
    were judged.
    """

    rows: tuple[GateRefusal, ...]
    looked_at: int


def rehearse_refusals(
    *, scope: ListScope, change: Change, actor: Actor, now: datetime
) -> PassingRefusals:
    """Return which refusals of the last 30 days would pass after the change, and would
    not pass by the lists of now.
    """
    visible = GateRefusal.objects.visible_to(actor).since(now - timedelta(days=DAYS))
    in_scope = visible.under(
        connection=scope.connection, mailbox=scope.mailbox
    ).for_page(None)
    refusals = list(in_scope[:MAX_REFUSALS])
    addresses = {address for one in refusals for address in one.recipients}
    connections = {one.connection_id for one in refusals}
    before, after = _before_and_after(
        scope, change, connections, patterns_of(addresses)
    )
    contacts: Mapping[int, Collection[str]] = {}
    if _asks_contacts(before, after):
        # However old: the gate decided, not the desk.
        contacts = stored_contacts(connections, {one.lower() for one in addresses})
    found = []
    for one in refusals:
        known = None
        if one.connection.contacts_read_at:
            known = contacts.get(one.connection_id)
        was, becomes = (
            judge(
                one.recipients,
                lists.for_mailbox(one.connection_id, one.mailbox_id),
                known,
                now,
            ).refused
            for lists in (before, after)
        )
        if was and not becomes:
            found.append(one)
    return PassingRefusals(tuple(found), len(refusals))
