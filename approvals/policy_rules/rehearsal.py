"""Rehearses a change of the rules on the newest messages of the last 30 days: what it
would have asked of each of them.

Hours are those at which a message was held; owners and lists are those of now.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from common.actors import Actor
from mirror.models import Message
from policy.rules.demand import required
from policy.rules.facts import COLUMNS, lookups_for
from policy.rules.rules import Effects, PolicyRule

DAYS = 30
# How many messages are asked about, and how many of those that change are shown.
MOST = 5000
SHOWN = 20
EXAMINED = ("review__risk_level", "review__rules", "review__policy_facts")


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
    `is_partial`: there are more messages than were asked about.
    """

    looked_at: int
    is_partial: bool
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
) -> Rehearsal:
    """Return what these rules in place of those would have asked of the messages that
    the actor may see.

    Nothing is written.
    """
    since = now - timedelta(days=DAYS)
    recent = Message.objects.visible_to(actor).held_since(since)
    asked = recent.select_related("review").only("held_at", *COLUMNS, *EXAMINED)
    found = list(asked.order_by("-pk")[: MOST + 1])
    lookups = lookups_for((*before, *after), now)
    counts: Counter[str] = Counter()
    changed: dict[int, tuple[Effects, Effects]] = {}
    for message in found[:MOST]:
        facts = lookups.facts(message, message.review, message.held_at)
        was, becomes = (required(rules, facts).effects for rules in (before, after))
        if asks(was) == asks(becomes):
            continue
        changed[message.pk] = (was, becomes)
        for point in POINTS:
            difference = point.measure(becomes) - point.measure(was)
            if difference:
                counts[point.more if difference > 0 else point.less] += 1
    rows = Message.objects.filter(pk__in=[*changed][:SHOWN])
    named = rows.select_related("mailbox", "connection").order_by("-pk")
    return Rehearsal(
        min(len(found), MOST),
        len(found) > MOST,
        len(changed),
        {one.more: counts[one.more] for one in POINTS if counts[one.more]},
        {one.less: counts[one.less] for one in POINTS if counts[one.less]},
        [(one, *changed[one.pk]) for one in named],
    )


def asks(then: Effects) -> tuple[object, ...]:
    """Return what is asked, equal where the same is asked in other words."""
    return then.total, then.named_groups, replace(then, approvals={})
