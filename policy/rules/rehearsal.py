"""Rehearses a change of the rules on the messages of the last 30 days: what it would have asked of them.

PostgreSQL groups messages for which all that the rules ask about is equal, and each group is judged once, before the
change and after it. Hours are those at which a message was held; owners and lists are those of now.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import nlargest
from typing import Any, cast

from django.db.models import F, Q, TextField, Value
from django.db.models.expressions import ExpressionWrapper
from django.db.models.fields import BooleanField
from django.db.models.fields.json import KT, KeyTransform
from django.db.models.functions import Cast, Coalesce
from django.db.models.lookups import In

from mirror.models import Message
from mirror.querysets.messages import as_json, recipients_in, within
from people.actors import Actor
from policy.rules.conditions import entries_of
from policy.rules.effects import Effects
from policy.rules.evaluation import required
from policy.rules.facts import CLAIMED
from policy.rules.hours import Hours, open_spans
from policy.rules.lookups import Lookups, lookups_for
from policy.rules.rules import PolicyRule

DAYS = 30
LIMIT = 20
_FACTS = ("amounts", "attachments", "own_words")
# Not a name of a person or program: it did name one.
_NAMED = "named"


@dataclass(frozen=True)
class Point:
    """One thing that can be asked of a message, with words for more and for less of it, and how much of it is asked."""

    more: str
    less: str
    measure: Callable[[Effects], int]


POINTS = (
    Point("More approvals", "Fewer approvals", lambda then: then.total),
    Point("More approvals of a group", "Fewer approvals of a group", lambda then: sum(then.named_groups.values())),
    Point("Rejected", "No longer rejected", lambda then: bool(then.reject)),
    Point("Never in bulk", "In bulk again", lambda then: then.never_in_bulk),
    Point("On the high-risk page", "No longer on the high-risk page", lambda then: then.high_risk_page),
    Point("After a fresh sign-in", "Without a fresh sign-in", lambda then: then.reauthenticate),
    Point("Approved by fewer people", "Approved by more people", lambda then: _barred(then)),
    Point("Expires, or sooner", "Expires later, or never", lambda then: -(then.expire_minutes or 10**9)),
    Point("Only within hours", "No longer within those hours", lambda then: len(then.office_hours)),
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
    """What a change would have done: how many messages it would have asked something else of, by what in words.

    `rows` are the newest of them.
    """

    looked_at: int
    changed: int
    more: Mapping[str, int]
    less: Mapping[str, int]
    rows: tuple[RehearsedMessage, ...]


def rehearse(
    *, before: Sequence[PolicyRule], after: Sequence[PolicyRule], actor: Actor, now: datetime, limit: int = LIMIT
) -> Rehearsal:
    """Return what these rules in place of those would have asked of the messages that the actor may see.

    Nothing is written.
    """
    grouping = _Grouping([one for one in (*before, *after) if one.is_on])
    mail = Message.objects.visible_to(actor).held_since(now - timedelta(days=DAYS))
    groups = [_Group(*row) for row in mail.grouped_by(grouping.columns(now))]
    judge = _Judge(before, after, grouping, _lookups(grouping, groups, now))
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    looked_at = changed = 0
    turned = []
    for group in groups:
        looked_at += group.number
        pair = judge.of(group)
        if pair is None:
            continue
        changed += group.number
        turned.append((group, pair))
        for point in POINTS:
            difference = point.measure(pair[1]) - point.measure(pair[0])
            if difference:
                counts[difference < 0][point.more if difference > 0 else point.less] += group.number
    return Rehearsal(looked_at, changed, _in_order(counts[0]), _in_order(counts[1]), _rows(turned, limit))


def _in_order(counted: Counter[str]) -> dict[str, int]:
    words = [one for point in POINTS for one in (point.more, point.less)]
    return {one: counted[one] for one in words if counted[one]}


class _Group:
    """Messages that are equal for the rules: their values by column, how many, the newest, the first, and all keys."""

    __slots__ = ("keys", "newest", "number", "since", "values")

    def __init__(self, *row: Any) -> None:
        *self.values, self.number, self.newest, self.since, self.keys = row


@dataclass
class _Grouping:
    """Which columns of messages these rules ask about."""

    rules: Sequence[PolicyRule]
    hours: list[Hours] = field(init=False)
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        asked = [one.when for one in self.rules]
        self.hours = list(dict.fromkeys(hours for one in asked for hours in (one.during, one.outside) if hours))
        self.names = ["connection_id", "mailbox_id", "direction", "is_known"]
        if any(one.keys or one.key_owners for one in asked):
            self.names.append("sent_by_key")
        if self.asks_recipients:
            self.names.append("written_to")
        if any(one.risk for one in asked):
            self.names.append("risk_level")
        if any(one.findings or one.first_contact for one in asked):
            self.names.append("rules")
        if any(one.tries_from for one in asked):
            self.names.append("try_number")
        if any(one.origins for one in asked):
            self.names += [f"claims_{origin}" for origin in CLAIMED]
        for name, condition in zip(_FACTS, ("amount", "attachments", "own_words"), strict=True):
            if any(getattr(one, condition) or (condition == "amount" and one.amount is not None) for one in asked):
                self.names.append(f"facts_{name}")
        self.names += [f"hours_{place}" for place in range(len(self.hours))]

    @property
    def asks_recipients(self) -> bool:
        """Whether a rule asks who gets a message."""
        asked = (one.when for one in self.rules)
        return any(one.recipients or one.recipients_except or one.lists or one.recipients_from for one in asked)

    @property
    def patterns(self) -> set[str]:
        """Every entry that a rule names."""
        return {each for one in self.rules for each in (*one.when.recipients, *one.when.recipients_except)}

    @property
    def most_recipients(self) -> int:
        """The largest number of recipients that a rule asks for; beyond it all are equal."""
        return max((one.when.recipients_from or 0 for one in self.rules), default=0)

    def columns(self, now: datetime) -> dict[str, Any]:
        """Return the expressions to group by, by their names."""
        made: dict[str, Any] = {
            "is_known": ExpressionWrapper(Q(written_to__isnull=False), output_field=BooleanField()),
            "written_to": as_json("written_to"),
            "rules": as_json("rules"),
        }
        made |= {f"claims_{origin}": _claims(names) for origin, names in CLAIMED.items()}
        made |= {f"facts_{name}": Cast(KeyTransform(name, "policy_facts"), TextField()) for name in _FACTS}
        for place, hours in enumerate(self.hours):
            made[f"hours_{place}"] = within("held_at", open_spans(hours, now - timedelta(days=DAYS + 1), now))
        # Under other names than the columns have.
        return {f"by_{name}": made.get(name, F(name)) for name in self.names}


def _claims(names: Iterable[str]) -> Any:
    """Return whether the trigger of a message names any of these; what counts as empty in Python does here too."""
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


@dataclass
class _Judge:
    """What is asked of a group before and after, worked out once for all groups that are equal to the rules."""

    before: Sequence[PolicyRule]
    after: Sequence[PolicyRule]
    grouping: _Grouping
    lookups: Lookups
    _known: dict[object, tuple[Effects, Effects] | None] = field(default_factory=dict)
    _named_by: dict[str, frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = self.grouping.names
        self._patterns, self._most = self.grouping.patterns, self.grouping.most_recipients
        self._place = names.index("written_to") if "written_to" in names else None

    def of(self, group: _Group) -> tuple[Effects, Effects] | None:
        """Return what is asked before and after; None where it is the same."""
        values = group.values
        if self._place is None:
            key: object = tuple(values)
        else:
            stored = values[self._place]
            key = (*values[: self._place], *values[self._place + 1 :], self._seen_by_rules(stored))
        if key not in self._known:
            self._known[key] = self._judged(group)
        return self._known[key]

    def _seen_by_rules(self, stored: str | None) -> object:
        """Return all that rules can tell about recipients: who is named by which of their entries, and how many."""
        if stored is None:
            return None
        recipients = recipients_in(stored)
        named = frozenset(map(self._names, recipients))
        lists = frozenset(self.lookups.lists_naming(recipients)) if self.lookups.lists else None
        return named, lists, min(len(recipients), self._most), all("@" in one for one in recipients)

    def _names(self, recipient: str) -> frozenset[str]:
        found = self._named_by.get(recipient)
        if found is None:
            found = self._named_by[recipient] = frozenset(self._patterns.intersection(entries_of(recipient)))
        return found

    def _judged(self, group: _Group) -> tuple[Effects, Effects] | None:
        message = cast(Message, _columns(dict(zip(self.grouping.names, group.values, strict=True))))
        facts = self.lookups.facts(message, group.since)
        before, after = (required(rules, facts).effects for rules in (self.before, self.after))
        return None if asks(before) == asks(after) else (before, after)


def asks(then: Effects) -> tuple[object, ...]:
    """Return what is asked, equal where the same is asked in other words."""
    return then.total, then.named_groups, then.as_json() | {"approvals": {}}


def _columns(values: Mapping[str, Any]) -> _Columns:
    found = _Columns(values["connection_id"], values["mailbox_id"], values["direction"])
    # Without a rule that asks for recipients, it matters only that they are known.
    stored = values.get("written_to", "[]") if values["is_known"] else None
    found.written_to = None if stored is None else recipients_in(stored)
    found.sent_by_key, found.risk_level = values.get("sent_by_key") or "", values.get("risk_level") or ""
    found.rules, found.try_number = json.loads(values.get("rules") or "[]"), values.get("try_number") or 1
    found.trigger = {names[0]: _NAMED for origin, names in CLAIMED.items() if values.get(f"claims_{origin}")}
    facts = {name: values.get(f"facts_{name}") for name in _FACTS}
    found.policy_facts = {name: json.loads(stored) for name, stored in facts.items() if stored}
    return found


def _lookups(grouping: _Grouping, groups: Iterable[_Group], now: datetime) -> Lookups:
    recipients: set[str] = set()
    if any(one.when.lists for one in grouping.rules):
        place = grouping.names.index("written_to")
        recipients.update(*(recipients_in(group.values[place]) for group in groups))
    return lookups_for(grouping.rules, recipients, now)


def _rows(turned: Sequence[tuple[_Group, tuple[Effects, Effects]]], limit: int) -> tuple[RehearsedMessage, ...]:
    # The newest messages are all in the groups with the newest.
    latest = nlargest(limit, turned, key=lambda one: one[0].newest)
    pairs = {key: pair for group, pair in latest for key in json.loads(group.keys)}
    keys = nlargest(limit, pairs)
    found = Message.objects.filter(pk__in=keys).select_related("mailbox", "connection").order_by("-pk")
    return tuple(RehearsedMessage(message, *pairs[message.pk]) for message in found)
