"""Rehearses a change of the rules on the messages of the last 30 days: what it would
have asked of them.

All conditions of a rule must hold, so they are asked apart: recipients once for all
messages to the same people, sums once for equal ones, and all else once for each group
of messages that PostgreSQL found to be equal. The answers are numbers with a bit for
each rule, and a rule speaks where all of them have its bit. Hours are those at which a
message was held; owners and lists are those of now.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from heapq import nlargest
from typing import Any, cast

from django.db.models import F, Min, Q, TextField, Value
from django.db.models.expressions import ExpressionWrapper
from django.db.models.fields import BooleanField
from django.db.models.fields.json import KT, KeyTransform
from django.db.models.functions import Cast, Coalesce
from django.db.models.lookups import In

from common.actors import Actor
from mirror.models import Message
from mirror.models.messages import MessageQuerySet, as_json, recipients_in, within
from policy.rules.conditions import Conditions, MessageFacts, entries_of
from policy.rules.effects import Effects, merged
from policy.rules.facts import CLAIMED, amounts_in
from policy.rules.hours import Hours, open_spans
from policy.rules.lookups import Lookups, lookups_by
from policy.rules.rules import PolicyRule

DAYS = 30
LIMIT = 20
# Of `policy_facts`, those that are asked together with the columns.
_FACTS = ("attachments", "own_words")
# What stands for the name that a trigger has.
_NAMED = "named"


@dataclass(frozen=True)
class Point:
    """One thing that can be asked of a message, with words for more and for less of it,
    and how much of it is asked.
    """

    more: str
    less: str
    measure: Callable[[Effects], int]


POINTS = (
    Point("More approvals", "Fewer approvals", lambda then: then.total),
    Point(
        "More approvals of a group",
        "Fewer approvals of a group",
        lambda then: sum(then.named_groups.values()),
    ),
    Point("Rejected", "No longer rejected", lambda then: bool(then.reject)),
    Point("Never in bulk", "In bulk again", lambda then: then.never_in_bulk),
    Point(
        "On the high-risk page",
        "No longer on the high-risk page",
        lambda then: then.high_risk_page,
    ),
    Point(
        "After a fresh sign-in",
        "Without a fresh sign-in",
        lambda then: then.reauthenticate,
    ),
    Point(
        "Approved by fewer people",
        "Approved by more people",
        lambda then: _barred(then),
    ),
    Point(
        "Expires, or sooner",
        "Expires later, or never",
        lambda then: -(then.expire_minutes or 10**9),
    ),
    Point(
        "Only within hours",
        "No longer within those hours",
        lambda then: len(then.office_hours),
    ),
)


def _barred(then: Effects) -> int:
    return len(then.barred_groups) + then.bar_editor


@dataclass(frozen=True)
class RehearsedMessage:
    """One message of which the change would have asked something else."""

    message: Message
    before: Effects
    after: Effects


@dataclass(frozen=True)
class Rehearsal:
    """What a change would have done: how many messages it would have asked something
    else of, by what in words.

    `rows` are the newest of them.
    """

    looked_at: int
    changed: int
    more: Mapping[str, int]
    less: Mapping[str, int]
    rows: tuple[RehearsedMessage, ...]


def rehearse(
    *,
    before: Sequence[PolicyRule],
    after: Sequence[PolicyRule],
    actor: Actor,
    now: datetime,
    limit: int = LIMIT,
) -> Rehearsal:
    """Return what these rules in place of those would have asked of the messages that
    the actor may see.

    Nothing is written.
    """
    rules: list[PolicyRule] = []
    sides = [
        _places([one for one in side if one.is_on], rules) for side in (before, after)
    ]
    mail = Message.objects.visible_to(actor).held_since(now - timedelta(days=DAYS))
    spoke, looked_at = _spoke(rules, mail, now)
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    turned: dict[int, tuple[Effects, Effects]] = {}
    for bits, keys in spoke.items():
        was, becomes = (
            _merged([rules[place] for place in side if bits >> place & 1])
            for side in sides
        )
        if asks(was) == asks(becomes):
            continue
        turned |= dict.fromkeys(keys, (was, becomes))
        for point in POINTS:
            difference = point.measure(becomes) - point.measure(was)
            if difference:
                counts[difference < 0][
                    point.more if difference > 0 else point.less
                ] += len(keys)
    return Rehearsal(
        looked_at,
        len(turned),
        _in_order(counts[0]),
        _in_order(counts[1]),
        _rows(turned, limit),
    )


def asks(then: Effects) -> tuple[object, ...]:
    """Return what is asked, equal where the same is asked in other words."""
    return then.total, then.named_groups, replace(then, approvals={})


def _places(side: Iterable[PolicyRule], rules: list[PolicyRule]) -> list[int]:
    """Return at which places of `rules` those of one side are, in their order; what is
    not there is added.
    """
    places = []
    for one in side:
        if one not in rules:
            rules.append(one)
        places.append(rules.index(one))
    return places


def _merged(spoke: Sequence[PolicyRule]) -> Effects:
    return merged(one.then for one in spoke) if spoke else Effects()


def _in_order(counted: Counter[str]) -> dict[str, int]:
    words = [one for point in POINTS for one in (point.more, point.less)]
    return {one: counted[one] for one in words if counted[one]}


def _rows(
    turned: Mapping[int, tuple[Effects, Effects]], limit: int
) -> tuple[RehearsedMessage, ...]:
    keys = nlargest(limit, turned)
    found = (
        Message.objects.filter(pk__in=keys)
        .select_related("mailbox", "connection")
        .order_by("-pk")
    )
    return tuple(RehearsedMessage(message, *turned[message.pk]) for message in found)


def _bits(places: Iterable[int]) -> int:
    return sum(1 << place for place in places)


def _spoke(
    rules: Sequence[PolicyRule], mail: MessageQuerySet, now: datetime
) -> tuple[dict[int, list[int]], int]:
    """Return the keys of messages by the bits of the rules that speak to them, and how
    many messages there are.
    """
    to = _ToRecipients(rules)
    if to.is_asked:
        to.read(mail)
    lookups = lookups_by(rules, to.entries, now)
    by_recipients = to.bits_by_key(lookups)
    by_amount = _by_amount(rules, mail)
    spoke: dict[int, list[int]] = {}
    looked_at = 0
    for keys, bits in _Grouping(rules).answers(mail, lookups, now):
        looked_at += len(keys)
        for key in keys:
            found = bits & by_recipients.get(key, bits) & by_amount.get(key, bits)
            if found in spoke:
                spoke[found].append(key)
            else:
                spoke[found] = [key]
    return spoke, looked_at


def _keys(stored: str) -> list[int]:
    return cast(list[int], json.loads(stored))


class _ToRecipients:
    """The rules that ask who gets a message: their bits by the entries that name
    somebody.
    """

    def __init__(self, rules: Sequence[PolicyRule]) -> None:
        self.all = _bits(range(len(rules)))
        asked = [one.when for one in rules]
        self._asks_named = _bits(
            place for place, one in enumerate(asked) if one.recipients
        )
        self._asks_others = _bits(
            place for place, one in enumerate(asked) if one.recipients_except
        )
        self._asks_lists = _bits(place for place, one in enumerate(asked) if one.lists)
        self._numbers = [
            (place, one.recipients_from)
            for place, one in enumerate(asked)
            if one.recipients_from
        ]
        self._lists = [
            (place, one.lists) for place, one in enumerate(asked) if one.lists
        ]
        self._named, self._others = (
            _bits_by((place, getattr(one, name)) for place, one in enumerate(asked))
            for name in ("recipients", "recipients_except")
        )
        self._by_entry: dict[str, int] = {}
        self._groups: list[tuple[list[str], str]] = []
        self._entries: dict[str, frozenset[str]] = {}
        self._of: dict[str, tuple[int, int, int]] = {}

    @property
    def is_asked(self) -> bool:
        """Whether any rule asks."""
        return bool(
            self._asks_named or self._asks_others or self._asks_lists or self._numbers
        )

    def read(self, mail: MessageQuerySet) -> None:
        """Read to whom the messages go, once for those to the same people."""
        for stored, keys in mail.grouped_by({"by_to": as_json("written_to")}):
            if stored is not None:
                self._groups.append((recipients_in(stored), keys))
        everybody = {one for recipients, _ in self._groups for one in recipients}
        self._entries = {one: entries_of(one) for one in everybody}

    def entries(self) -> set[str]:
        """Return every entry that names somebody to whom the messages go."""
        return set().union(*self._entries.values())

    def bits_by_key(self, lookups: Lookups) -> dict[int, int]:
        """Return the rules whose conditions on recipients hold, for those messages for
        which not all of them do.

        Where somebody is not known all of them do.
        """
        for entry, lists in lookups.lists.items():
            self._by_entry[entry] = _bits(
                place for place, asked in self._lists if not asked.isdisjoint(lists)
            )
        self._of = {one: self._for_one(one) for one in self._entries}
        stored: dict[int, list[str]] = {}
        for recipients, keys in self._groups:
            if (bits := self._bits(recipients)) != self.all:
                stored.setdefault(bits, []).append(keys)
        found: dict[int, int] = {}
        for bits, texts in stored.items():
            # Read together: to read 40,000 short lists takes four times as long.
            found |= dict.fromkeys(
                _keys(f"[{','.join(one[1:-1] for one in texts)}]"), bits
            )
        return found

    def _bits(self, recipients: Sequence[str]) -> int:
        named = others = lists = 0
        for one in recipients:
            if "@" not in one:
                return self.all
            found = self._of[one]
            named = named | found[0]
            others = others | found[1]
            lists = lists | found[2]
        bits = (self.all ^ self._asks_named | named) & (
            self.all ^ self._asks_others | others
        )
        bits &= self.all ^ self._asks_lists | lists
        few = (
            _bits(place for place, least in self._numbers if len(recipients) < least)
            if self._numbers
            else 0
        )
        return bits & ~few

    def _for_one(self, recipient: str) -> tuple[int, int, int]:
        """Return the rules that name one recipient, that name only others in their
        exceptions, and that by a list.
        """
        named = excepted = lists = 0
        for entry in self._entries[recipient]:
            named |= self._named.get(entry, 0)
            excepted |= self._others.get(entry, 0)
            lists |= self._by_entry.get(entry, 0)
        return named, self._asks_others & ~excepted, lists


def _bits_by(asked: Iterable[tuple[int, Iterable[str]]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for place, entries in asked:
        for entry in entries:
            found[entry] = found.get(entry, 0) | 1 << place
    return found


_NO_TIME = datetime(1, 1, 1)  # noqa: DTZ001 - nothing about amounts depends on it


def _by_amount(rules: Sequence[PolicyRule], mail: MessageQuerySet) -> dict[int, int]:
    """Return by message the rules whose amount it names, for those messages that not
    all name.
    """
    asked = {
        place: one.when
        for place, one in enumerate(rules)
        if one.when.amount is not None
    }
    if not asked:
        return {}
    all_bits = _bits(range(len(rules)))
    found: dict[int, int] = {}
    named = Cast(KeyTransform("amounts", "review__policy_facts"), TextField())
    for stored, keys in mail.grouped_by({"by_amounts": named}):
        amounts = amounts_in(json.loads(stored)) if stored else None
        facts = MessageFacts(connection=0, now=_NO_TIME, amounts=amounts)
        only = (
            (
                place,
                Conditions(amount=one.amount, currency=one.currency).apply_to(facts),
            )
            for place, one in asked.items()
        )
        bits = all_bits & ~_bits(place for place, holds in only if not holds)
        if bits != all_bits:
            found |= dict.fromkeys(_keys(keys), bits)
    return found


@dataclass
class _Grouping:
    """Which columns of messages these rules ask about, besides recipients and amounts."""

    rules: Sequence[PolicyRule]
    hours: list[Hours] = field(init=False)
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        asked = [one.when for one in self.rules]
        self.hours = list(
            dict.fromkeys(
                hours for one in asked for hours in (one.during, one.outside) if hours
            )
        )
        self.names = ["connection_id", "mailbox_id", "direction", "is_known"]
        if any(one.keys or one.key_owners for one in asked):
            self.names.append("sent_by_key")
        if any(one.risk for one in asked):
            self.names.append("risk_level")
        if any(one.findings or one.first_contact for one in asked):
            self.names.append("rules")
        if any(one.tries_from for one in asked):
            self.names.append("try_number")
        if any(one.origins for one in asked):
            self.names += [f"claims_{origin}" for origin in CLAIMED]
        self.names += [
            f"facts_{name}"
            for name in _FACTS
            if any(getattr(one, name) for one in asked)
        ]
        self.names += [f"hours_{place}" for place in range(len(self.hours))]

    def answers(
        self, mail: MessageQuerySet, lookups: Lookups, now: datetime
    ) -> Iterable[tuple[list[int], int]]:
        """Yield the keys of messages that are equal in these columns, with the rules
        that these keep speaking.
        """
        apart: dict[str, Any] = {
            "recipients": (),
            "recipients_except": (),
            "lists": frozenset(),
            "recipients_from": None,
        }
        when = [
            replace(one.when, **apart, amount=None, currency="") for one in self.rules
        ]
        for *values, since, keys in mail.grouped_by(
            self._columns(lookups, now), since=Min("held_at")
        ):
            found: Any = _columns(dict(zip(self.names, values, strict=True)))
            facts = lookups.facts(found, found, since)
            yield (
                _keys(keys),
                _bits(place for place, one in enumerate(when) if one.apply_to(facts)),
            )

    def _columns(self, lookups: Lookups, now: datetime) -> dict[str, Any]:
        """Return the expressions to group by, by names that no column has."""
        made: dict[str, Any] = {
            "is_known": ExpressionWrapper(
                Q(written_to__isnull=False), output_field=BooleanField()
            ),
            "rules": as_json("review__rules"),
            "risk_level": F("review__risk_level"),
        }
        made |= {
            f"claims_{origin}": _claims(names) for origin, names in CLAIMED.items()
        }
        made |= {
            f"facts_{name}": Cast(
                KeyTransform(name, "review__policy_facts"), TextField()
            )
            for name in _FACTS
        }
        for place, hours in enumerate(self.hours):
            spans = open_spans(
                hours, now - timedelta(days=DAYS + 1), now, lookups.calendars
            )
            made[f"hours_{place}"] = within("held_at", spans)
        return {f"by_{name}": made.get(name, F(name)) for name in self.names}


def _claims(names: Iterable[str]) -> Any:
    """Return whether the trigger of a message names any of these; what counts as empty
    in Python does here too.
    """
    is_named = Q()
    for name in names:
        value = Coalesce(KT(f"trigger__{name}"), Value(""), output_field=TextField())
        is_named |= ~_is_empty(value)
    return ExpressionWrapper(is_named, output_field=BooleanField())


def _is_empty(value: Any) -> Q:
    return Q(In(value, ["", "0", "0.0", "false", "[]", "{}"]))


@dataclass
class _Columns:
    """The columns of a group in place of a message, for `facts_of`."""

    connection_id: int
    mailbox_id: int | None
    direction: str
    sent_by_key: str = ""
    written_to: list[str] | None = None
    risk_level: str = ""
    rules: Collection[str] = ()
    trigger: Mapping[str, str] = field(default_factory=dict)
    try_number: int = 1
    policy_facts: Mapping[str, Any] = field(default_factory=dict)


def _columns(values: Mapping[str, Any]) -> _Columns:
    found = _Columns(values["connection_id"], values["mailbox_id"], values["direction"])
    # It matters only that they are known: who they are is asked apart.
    found.written_to = [] if values["is_known"] else None
    found.sent_by_key, found.risk_level = (
        values.get("sent_by_key") or "",
        values.get("risk_level") or "",
    )
    found.rules, found.try_number = (
        json.loads(values.get("rules") or "[]"),
        values.get("try_number") or 1,
    )
    found.trigger = {
        names[0]: _NAMED
        for origin, names in CLAIMED.items()
        if values.get(f"claims_{origin}")
    }
    facts = {name: values.get(f"facts_{name}") for name in _FACTS}
    found.policy_facts = {
        name: json.loads(stored) for name, stored in facts.items() if stored
    }
    return found
