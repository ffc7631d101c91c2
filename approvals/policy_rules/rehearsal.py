"""Rehearses a change of the policy: compares what the old and the new rules ask of the
newest messages of the last 30 days, and which of these passes would have sent.

Rules about hours are evaluated for the time when each message was held, but with the
present allowlists and key owners. Threads and the limits of passes are not looked at.
Words that were not looked for when a message came are looked for in its stored text,
which can miss a word that formatting splits.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from approvals.queue.querysets import queue_messages
from common.actors import Actor
from common.fingerprint import Content
from mirror.models import Message
from mirror.store import stored_content
from policy.rules.changes import passes_of, rules_of
from policy.rules.demand import required
from policy.rules.effects import Effects
from policy.rules.facts import (
    COLUMNS,
    facts_of,
    lookups_for,
    sending_of,
    unknown_words,
    words_in,
)
from policy.rules.passes import fitting
from policy.rules.rules import Parts, PolicyRule
from rendering import RenderedMessage
from risk.words import read_phrase, search_terms

DAYS = 30
# How many messages are evaluated, and how many of those with another result are shown.
MOST = 5000
SHOWN = 20
# In how many messages a rule's words are looked for.
READ = 500
# The columns of the connection and of the review that rules need, and what could be read
# of the message.
EXAMINED = (
    "connection__is_our_gateway",
    "review__risk_level",
    "review__rules",
    "review__policy_facts",
    "review__is_apart",
    "revision__coverage",
)
# What a pass does, in the place of what rules ask for; and the words if it does so, or
# does so no more.
SENT_BY_PASS = "it is sent without a person"
_SENT = "Sent without a person"
_NOT_SENT = "No longer sent without a person"
# What is asked of a message; None if a pass sends it.
Asked = Effects | None


@dataclass(frozen=True)
class Point:
    """One thing that rules can ask for, such as approvals. `measure` returns how much
    of it is asked; `more` and `less` are the words if a change asks for more or less.
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
    Point("With care", "No longer with care", lambda then: then.care),
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


_MORE = [one.more for one in POINTS]
_LESS = [one.less for one in POINTS]


@dataclass(frozen=True)
class Rehearsal:
    """What a change of the policy would have done to past messages.

    `changed` is for how many of the `looked_at` messages other things are asked; `more`
    and `less` count them by what is asked, in words. `rows` are the newest of them,
    with what is asked before and after. `sent` has by the names of the new passes how
    many messages each would have sent. `is_partial` says that only the newest messages
    were evaluated.
    """

    looked_at: int
    is_partial: bool
    changed: int
    more: Mapping[str, int]
    less: Mapping[str, int]
    rows: list[tuple[Message, Asked, Asked]]
    sent: Mapping[str, int]


def rehearse(*, before: Parts, after: Parts, actor: Actor, now: datetime) -> Rehearsal:
    """Return what the policy `after` would have asked of past messages that the actor
    may see, compared with the policy `before`. Nothing is written.
    """
    recent = Message.objects.visible_to(actor).held_since(now - timedelta(days=DAYS))
    with_columns = recent.select_related("connection", "review", "revision").only(
        "held_at", "sandbox", *COLUMNS, *EXAMINED
    )
    newest = list(with_columns.order_by("-pk")[: MOST + 1])
    messages = look_back(newest[:MOST], (*rules_of(before), *rules_of(after)))
    lookups = lookups_for((*before, *after), now, messages)
    counts: Counter[str] = Counter()
    changed: dict[int, tuple[Asked, Asked]] = {}
    sent: Counter[str] = Counter()
    policies = [(rules_of(one), passes_of(one)) for one in (before, after)]
    for message in messages:
        facts = facts_of(message, message.review, lookups)
        sending = sending_of(message, message.review, message.held_at)
        asked: list[Asked] = []
        for rules, passes in policies:
            requirement = required(rules, facts)
            is_asked = bool(requirement.spoke)
            fit = fitting(passes, facts, sending, is_asked=is_asked)
            asked.append(None if fit else requirement.effects)
        if fit:
            sent[fit[0].name] += 1
        was, becomes = asked
        if asks(was) == asks(becomes):
            continue
        changed[message.pk] = (was, becomes)
        if was is None or becomes is None:
            counts[_SENT if becomes is None else _NOT_SENT] += 1
            continue
        for point in POINTS:
            difference = point.measure(becomes) - point.measure(was)
            if difference:
                counts[point.more if difference > 0 else point.less] += 1
    rows = Message.objects.filter(pk__in=[*changed][:SHOWN])
    newest_changed = rows.select_related("mailbox", "connection").order_by("-pk")
    return Rehearsal(
        len(messages),
        len(newest) > len(messages),
        len(changed),
        {one: counts[one] for one in (*_MORE, _NOT_SENT) if counts[one]},
        {one: counts[one] for one in (*_LESS, _SENT) if counts[one]},
        [(one, *changed[one.pk]) for one in newest_changed],
        dict(sent),
    )


def look_back(
    messages: Sequence[Message], rules: Iterable[PolicyRule]
) -> Sequence[Message]:
    """Look for the words of these rules in past messages, the newest first, as far as
    that was not done when they came, and set them in their reviews, which are not
    saved. Return those messages for which that is done: others, if there are more than
    READ to read.
    """
    nothing = RenderedMessage(document="", text="", plain="")
    sets = {one.when.words_key: one.when.words for one in rules if one.when.words}
    for key, words in sets.items():
        asked = {key: words}
        facts_of = {
            one.pk: facts
            for one in messages
            if (facts := one.review.policy_facts) and unknown_words(facts, asked)
        }
        # PostgreSQL's search picks those that may have one of the words.
        terms = [search_terms(read_phrase(word)) for word in words]
        holding = queue_messages().filter(pk__in=facts_of)
        if all(terms):
            holding = holding.holding(" | ".join(f"({one})" for one in terms))
        read = holding.select_related("revision").order_by("-pk")[:READ]
        revisions = {one.pk: one.revision for one in read}
        if len(revisions) == READ:
            messages = [one for one in messages if one.pk >= min(revisions)]
        for message in messages:
            if message.pk not in facts_of or message.revision is None:
                continue
            content = Content(coverage=tuple(message.revision.coverage))
            rendered = nothing
            if revision := revisions.get(message.pk):
                content = stored_content(revision)
                rendered = replace(nothing, plain=revision.html_text)
            facts_of[message.pk]["words"] |= words_in(content, rendered, asked)
    return messages


def asks(then: Asked) -> tuple[object, ...]:
    """Return what is asked in a form for comparison. It is equal if the same approvals
    are asked for in another way.
    """
    if then is None:
        return ()
    return then.total, then.named_groups, replace(then, approvals={})
