"""Rehearses a change of the rules on the messages of the last 30 days: what it would
have asked of them.

All conditions of a rule must hold, so they are asked in three parts, each once for
messages that PostgreSQL found to be equal in what the part asks about: recipients,
sums, and all else. The answers are numbers with a bit for each rule that a part does
not let apply. Hours are those at which a message was held; owners and lists are those
of now.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from heapq import nlargest
from typing import Any

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
from policy.rules.conditions import Conditions
from policy.rules.facts import CLAIMED, Lookups, lookups_for
from policy.rules.rules import Effects, PolicyRule, merged

DAYS = 30
LIMIT = 20


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
class Rehearsal:
    """What a change would have done: how many messages it would have asked something
    else of, by what in words.

    `rows` are the newest of them, each with what is asked before and after.
    """

    looked_at: int
    changed: int
    more: Mapping[str, int]
    less: Mapping[str, int]
    rows: list[tuple[Message, Effects, Effects]]


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
    silent = _silent(rules, mail, now)
    counts: Counter[str] = Counter()
    turned: dict[int, tuple[Effects, Effects]] = {}
    alike: dict[int, list[int]] = defaultdict(list)
    for key, bits in silent.items():
        alike[bits].append(key)
    for bits, keys in alike.items():
        was, becomes = (
            merged(rules[place].then for place in side if not bits >> place & 1)
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
        len(silent),
        len(turned),
        {one.more: counts[one.more] for one in POINTS if counts[one.more]},
        {one.less: counts[one.less] for one in POINTS if counts[one.less]},
        [(one, *turned[one.pk]) for one in named],
    )


def asks(then: Effects) -> tuple[object, ...]:
    """Return what is asked, equal where the same is asked in other words."""
    return then.total, then.named_groups, replace(then, approvals={})


def _silent(
    rules: Sequence[PolicyRule], mail: MessageQuerySet, now: datetime
) -> dict[int, int]:
    """Return by the keys of messages the bits of the rules that do not apply to them."""
    asked = [one.when for one in rules]
    lookups = lookups_for(rules, now)
    of_recipients = [
        Conditions(
            recipients=one.recipients,
            recipients_except=one.recipients_except,
            lists=one.lists,
            recipients_from=one.recipients_from,
        )
        for one in asked
    ]
    of_amounts = [Conditions(amount=one.amount, currency=one.currency) for one in asked]
    others = [
        replace(
            one,
            recipients=frozenset(),
            recipients_except=frozenset(),
            lists=frozenset(),
            recipients_from=None,
            amount=None,
            currency="",
        )
        for one in asked
    ]
    asked_by: list[tuple[list[Conditions], dict[str, Any]]] = [
        (others, _columns(others, lookups, now)),
        (of_recipients, {"written_to": as_json("written_to")}),
        (of_amounts, {"facts_amounts": _fact("amounts")}),
    ]
    silent: dict[int, int] = {}
    for parts, columns in asked_by:
        bits = [
            (1 << place, one) for place, one in enumerate(parts) if not one.is_empty
        ]
        if silent and not bits:
            continue
        # By names that no column of a message has.
        by = {f"by_{name}": one for name, one in columns.items()}
        for *values, since, keys in mail.grouped_by(by, since=Min("held_at")):
            found: Any = _group_of(dict(zip(columns, values, strict=True)))
            facts = lookups.facts(found, found, since)
            failing = sum(bit for bit, one in bits if not one.apply_to(facts))
            for key in json.loads(keys):
                silent[key] = silent.get(key, 0) | failing
    return silent


def _columns(
    asked: Sequence[Conditions], lookups: Lookups, now: datetime
) -> dict[str, Any]:
    """Return the columns, besides recipients and amounts, that these conditions ask
    about.
    """
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
    if any(one.attachments for one in asked):
        columns["facts_attachments"] = _fact("attachments")
    if any(one.own_words for one in asked):
        columns["facts_own_words"] = _fact("own_words")
    for key, calendar in lookups.calendars.items():
        spans = open_spans(calendar, now - timedelta(days=DAYS + 1), now)
        columns[f"hours_{key}"] = within("held_at", spans)
    return columns


def _fact(name: str) -> Cast:
    return Cast(KeyTransform(name, "review__policy_facts"), TextField())


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
class _Group:
    """The columns of equal messages in place of a message, for `facts_of`."""

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


def _group_of(values: Mapping[str, Any]) -> _Group:
    claimed = [
        names[0] for one, names in CLAIMED.items() if values.get(f"claims_{one}")
    ]
    # Where recipients are asked apart it matters only that they are known.
    written_to: list[str] | None = [] if values.get("is_known") else None
    if stored := values.get("written_to"):
        written_to = recipients_in(stored)
    facts = {
        name: values.get(f"facts_{name}")
        for name in ("attachments", "own_words", "amounts")
    }
    return _Group(
        connection_id=values.get("connection_id", 0),
        mailbox_id=values.get("mailbox_id"),
        direction=values.get("direction", ""),
        sent_by_key=values.get("sent_by_key") or "",
        written_to=written_to,
        risk_level=values.get("risk_level") or "",
        rules=json.loads(values.get("rules") or "[]"),
        trigger=dict.fromkeys(claimed, "claimed"),
        try_number=values.get("try_number") or 1,
        policy_facts={name: json.loads(one) for name, one in facts.items() if one},
    )
