"""Rehearses a change of the rules on the messages of the last 30 days: what it would
have asked of them.

All conditions of a rule must hold, so they are asked apart: recipients once for all
messages to the same people, sums once for equal ones, and all else once for each group
of messages that PostgreSQL found to be equal. The answers are numbers with a bit for
each rule, and a rule speaks where all of them have its bit. Hours are those at which a
message was held; owners and lists are those of now.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from policy.calendars import open_spans
from policy.rules.conditions import Conditions, MessageFacts, entries_of
from policy.rules.facts import CLAIMED, Lookups, amounts_in, lookups_for
from policy.rules.rules import Effects, PolicyRule, merged

DAYS = 30
LIMIT = 20
# Of `policy_facts`, those that are asked together with the columns.
_FACTS = ("attachments", "own_words")


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
        lambda then: len(then.barred_groups) + then.bar_editor,
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
    for one in (*before, *after):
        if one.is_on and one not in rules:
            rules.append(one)
    sides = [
        [rules.index(one) for one in side if one.is_on] for side in (before, after)
    ]
    mail = Message.objects.visible_to(actor).held_since(now - timedelta(days=DAYS))
    spoke, looked_at = _spoke(rules, mail, now)
    counts: Counter[str] = Counter()
    turned: dict[int, tuple[Effects, Effects]] = {}
    for bits, keys in spoke.items():
        was, becomes = (
            merged(rules[place].then for place in side if bits >> place & 1)
            for side in sides
        )
        if asks(was) == asks(becomes):
            continue
        turned |= dict.fromkeys(keys, (was, becomes))
        for point in POINTS:
            difference = point.measure(becomes) - point.measure(was)
            if difference:
                counts[point.more if difference > 0 else point.less] += len(keys)
    rows = Message.objects.filter(pk__in=nlargest(limit, turned))
    named = rows.select_related("mailbox", "connection").order_by("-pk")
    return Rehearsal(
        looked_at,
        len(turned),
        {one.more: counts[one.more] for one in POINTS if counts[one.more]},
        {one.less: counts[one.less] for one in POINTS if counts[one.less]},
        tuple(RehearsedMessage(one, *turned[one.pk]) for one in named),
    )


def asks(then: Effects) -> tuple[object, ...]:
    """Return what is asked, equal where the same is asked in other words."""
    return then.total, then.named_groups, replace(then, approvals={})


def _bits(places: Iterable[int]) -> int:
    return sum(1 << place for place in places)


def _spoke(
    rules: Sequence[PolicyRule], mail: MessageQuerySet, now: datetime
) -> tuple[dict[int, list[int]], int]:
    """Return the keys of messages by the bits of the rules that speak to them, and how
    many messages there are.
    """
    by_recipients, lookups = _by_recipients(rules, mail, now)
    by_amount = _by_amount(rules, mail)
    spoke: dict[int, list[int]] = defaultdict(list)
    looked_at = 0
    for keys, bits in _by_columns(rules, mail, lookups, now):
        looked_at += len(keys)
        for key in keys:
            found = bits & by_recipients.get(key, bits) & by_amount.get(key, bits)
            spoke[found].append(key)
    return spoke, looked_at


def _keys(stored: str) -> list[int]:
    return cast(list[int], json.loads(stored))


def _by_recipients(
    rules: Sequence[PolicyRule], mail: MessageQuerySet, now: datetime
) -> tuple[dict[int, int], Lookups]:
    """Return by message the rules whose conditions on recipients hold, for those
    messages for which not all of them do; and what these rules need to know.

    Where somebody is not known all of them do.
    """
    all_bits = _bits(range(len(rules)))
    asks_named = asks_others = asks_lists = 0
    # The rules that name an entry, except one, and ask for a list.
    names: dict[str, int] = defaultdict(int)
    excepts: dict[str, int] = defaultdict(int)
    of_list: dict[int, int] = defaultdict(int)
    numbers: list[tuple[int, int]] = []
    for place, rule in enumerate(rules):
        bit = 1 << place
        for entry in rule.when.recipients:
            asks_named |= bit
            names[entry] |= bit
        for entry in rule.when.recipients_except:
            asks_others |= bit
            excepts[entry] |= bit
        for key in rule.when.lists:
            asks_lists |= bit
            of_list[key] |= bit
        if rule.when.recipients_from:
            numbers.append((bit, rule.when.recipients_from))
    # Read once for those to the same people.
    groups: list[tuple[list[str], str]] = []
    if names or excepts or of_list or numbers:
        for stored, keys in mail.grouped_by({"by_to": as_json("written_to")}):
            if stored is not None:
                groups.append((recipients_in(stored), keys))
    everybody = {one for recipients, _ in groups for one in recipients}
    entries = {one: entries_of(one) for one in everybody}
    asked = set().union(*entries.values()) if of_list else set()
    lookups = lookups_for(rules, asked, now)
    by_list: dict[str, int] = defaultdict(int)
    for entry, lists in lookups.lists.items():
        for key in lists:
            by_list[entry] |= of_list[key]
    # Of each recipient: the rules that name them, those that name only others in their
    # exceptions, and those by a list.
    of: dict[str, tuple[int, int, int]] = {}
    for recipient, own in entries.items():
        named = excepted = listed = 0
        for entry in own:
            named |= names.get(entry, 0)
            excepted |= excepts.get(entry, 0)
            listed |= by_list.get(entry, 0)
        of[recipient] = (named, asks_others & ~excepted, listed)
    by_bits: dict[int, list[str]] = defaultdict(list)
    for recipients, keys in groups:
        if not all("@" in one for one in recipients):
            continue
        named = others = listed = 0
        for one in recipients:
            found = of[one]
            named |= found[0]
            others |= found[1]
            listed |= found[2]
        bits = all_bits & (named | ~asks_named) & (others | ~asks_others)
        bits &= listed | ~asks_lists
        for bit, least in numbers:
            if len(recipients) < least:
                bits &= ~bit
        if bits != all_bits:
            by_bits[bits].append(keys)
    by_key: dict[int, int] = {}
    for bits, texts in by_bits.items():
        # Read together: to read 40,000 short lists takes four times as long.
        joined = ",".join(one[1:-1] for one in texts)
        by_key |= dict.fromkeys(_keys(f"[{joined}]"), bits)
    return by_key, lookups


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


def _by_columns(
    rules: Sequence[PolicyRule], mail: MessageQuerySet, lookups: Lookups, now: datetime
) -> Iterator[tuple[list[int], int]]:
    """Yield the keys of messages that are equal in all columns, besides recipients and
    amounts, that these rules ask about; with the rules that these keep speaking.
    """
    asked = [one.when for one in rules]
    columns: dict[str, Any] = {
        "connection_id": F("connection_id"),
        "mailbox_id": F("mailbox_id"),
        "direction": F("direction"),
        "is_known": ExpressionWrapper(
            Q(written_to__isnull=False), output_field=BooleanField()
        ),
    }
    if any(one.keys or one.key_owners for one in asked):
        columns["sent_by_key"] = F("sent_by_key")
    if any(one.risk for one in asked):
        columns["risk_level"] = F("review__risk_level")
    if any(one.findings or one.first_contact for one in asked):
        columns["rules"] = as_json("review__rules")
    if any(one.tries_from for one in asked):
        columns["try_number"] = F("try_number")
    if any(one.origins for one in asked):
        for origin, names in CLAIMED.items():
            columns[f"claims_{origin}"] = _claims(names)
    for name in _FACTS:
        if any(getattr(one, name) for one in asked):
            stored = KeyTransform(name, "review__policy_facts")
            columns[f"facts_{name}"] = Cast(stored, TextField())
    hours = [each for one in asked for each in (one.during, one.outside) if each]
    for place, each in enumerate(dict.fromkeys(hours)):
        calendar = each.calendar_in(lookups.calendars)
        since = now - timedelta(days=DAYS + 1)
        spans = open_spans(calendar, since, now) if calendar else []
        columns[f"hours_{place}"] = within("held_at", spans)
    apart = [
        replace(
            one,
            recipients=(),
            recipients_except=(),
            lists=frozenset(),
            recipients_from=None,
            amount=None,
            currency="",
        )
        for one in asked
    ]
    # By names that no column has.
    by = {f"by_{name}": one for name, one in columns.items()}
    for *values, since, keys in mail.grouped_by(by, since=Min("held_at")):
        found: Any = _columns_of(dict(zip(columns, values, strict=True)))
        facts = lookups.facts(found, found, since)
        speak = _bits(place for place, one in enumerate(apart) if one.apply_to(facts))
        yield _keys(keys), speak


def _claims(names: Iterable[str]) -> Any:
    """Return whether the trigger of a message names any of these; what counts as empty
    in Python does here too.
    """
    is_named = Q()
    for name in names:
        value = Coalesce(KT(f"trigger__{name}"), Value(""), output_field=TextField())
        is_named |= ~Q(In(value, ["", "0", "0.0", "false", "[]", "{}"]))
    return ExpressionWrapper(is_named, output_field=BooleanField())


@dataclass(frozen=True)
class _Columns:
    """The columns of a group in place of a message, for `facts_of`."""

    connection_id: int
    mailbox_id: int | None
    direction: str
    sent_by_key: str
    written_to: list[str] | None
    risk_level: str
    rules: Collection[str]
    trigger: Mapping[str, str]
    try_number: int
    policy_facts: Mapping[str, Any]


def _columns_of(values: Mapping[str, Any]) -> _Columns:
    claimed = [
        names[0] for one, names in CLAIMED.items() if values.get(f"claims_{one}")
    ]
    facts = {name: values.get(f"facts_{name}") for name in _FACTS}
    return _Columns(
        connection_id=values["connection_id"],
        mailbox_id=values["mailbox_id"],
        direction=values["direction"],
        sent_by_key=values.get("sent_by_key") or "",
        # It matters only that they are known: who they are is asked apart.
        written_to=[] if values["is_known"] else None,
        risk_level=values.get("risk_level") or "",
        rules=json.loads(values.get("rules") or "[]"),
        trigger=dict.fromkeys(claimed, "claimed"),
        try_number=values.get("try_number") or 1,
        policy_facts={name: json.loads(one) for name, one in facts.items() if one},
    )
