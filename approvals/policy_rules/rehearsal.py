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
from typing import Any

from approvals.queue.querysets import queue_messages
from common.actors import Actor
from common.fingerprint import Content
from mirror.models import Message
from mirror.store import stored_content
from policy.rules.changes import passes_of, rules_of
from policy.rules.demand import can_be_completed, required
from policy.rules.effects import Effects
from policy.rules.facts import (
    COLUMNS,
    facts_of,
    lookups_for,
    sending_of,
    unknown_words,
    words_in,
)
from policy.rules.names import names_for, read_staff
from policy.rules.passes import fitting
from policy.rules.rules import Parts, PolicyRule
from policy.rules.satisfiable import Staff
from policy.rules.wording import Names
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
# What is asked of a message; None if a pass sends it.
Asked = Effects | None
# What a change can ask: the words if it asks for more of it, and for less, and how much
# of it is asked.
POINTS: tuple[tuple[str, str, Callable[[Any], int]], ...] = (
    ("More approvals", "Fewer approvals", lambda then: then.total),
    (
        "More approvals of a group",
        "Fewer approvals of a group",
        lambda then: sum(then.named_groups.values()),
    ),
    ("Rejected", "No longer rejected", lambda then: bool(then.reject)),
    ("With care", "No longer with care", lambda then: then.care),
    (
        "Approved by fewer people",
        "Approved by more people",
        lambda then: len(then.barred_groups) + then.bar_editor,
    ),
    (
        "Expires, or sooner",
        "Expires later, or never",
        lambda then: -(then.expire_minutes or 10**9),
    ),
    (
        "Only within hours",
        "No longer within those hours",
        lambda then: len(then.office_hours),
    ),
    (
        "No longer sent without a person",
        "Sent without a person",
        lambda then: then is not None,
    ),
)


@dataclass(frozen=True)
class Rehearsal:
    """What a change of the policy would have done to past messages.

    `changed` is for how many of the `looked_at` messages other things are asked; `more`
    and `less` count them by what is asked, in words. `rows` are the newest of them,
    with what is asked before and after, in words. `sent` has by the names of the new
    passes how many messages each would have sent. `is_partial` says that only the
    newest messages were evaluated, and `stops_all` that none of them could leave: each
    would be rejected, or nobody could approve it.
    """

    looked_at: int
    is_partial: bool
    changed: int
    more: Mapping[str, int]
    less: Mapping[str, int]
    rows: list[tuple[Message, str, str]]
    sent: Mapping[str, int]
    stops_all: bool
    days: int = DAYS


def rehearse(*, before: Parts, after: Parts, actor: Actor, now: datetime) -> Rehearsal:
    """Return what the policy `after` would have asked of past messages that the actor
    may see, compared with the policy `before`. Nothing is written.
    """
    recent = Message.objects.visible_to(actor).held_since(now - timedelta(days=DAYS))
    with_columns = recent.select_related("connection", "review", "revision").only(
        "held_at", "sandbox", *COLUMNS, *EXAMINED
    )
    both = (*before, *after)
    newest = list(with_columns.order_by("-pk")[: MOST + 1])
    messages = look_back(newest[:MOST], rules_of(both))
    lookups = lookups_for(both, now, messages)
    counts: Counter[str] = Counter()
    changed: dict[int, tuple[Asked, Asked]] = {}
    sent: Counter[str] = Counter()
    staff = read_staff()
    can_leave = False
    versions = [(rules_of(one), passes_of(one)) for one in (before, after)]
    for message in messages:
        facts = facts_of(message, message.review, lookups)
        sending = sending_of(message, message.review, message.held_at)
        asked: list[Asked] = []
        for rules, passes in versions:
            requirement = required(rules, facts)
            fit = fitting(passes, facts, sending, is_asked=bool(requirement.spoke))
            asked.append(None if fit else requirement.effects)
        was, becomes = asked
        if fit:
            sent[fit[0].name] += 1
        # Once one is found that could leave, the others are not looked at.
        can_leave = can_leave or _can_leave(becomes, message, staff)
        if asks(was) == asks(becomes):
            continue
        changed[message.pk] = (was, becomes)
        # Of a message that a pass sends or sent, only that is counted.
        points = POINTS[-1:] if None in (was, becomes) else POINTS
        for more, less, measure in points:
            difference = measure(becomes) - measure(was)
            if difference:
                counts[more if difference > 0 else less] += 1
    shown = Message.objects.filter(pk__in=[*changed][:SHOWN]).order_by("-pk")
    names = names_for(actor, both)
    return Rehearsal(
        len(messages),
        len(newest) > len(messages),
        len(changed),
        {one: counts[one] for one, _, _ in POINTS if counts[one]},
        {one: counts[one] for _, one, _ in POINTS if counts[one]},
        [
            (one, in_words(was, names), in_words(becomes, names))
            for one in shown.select_related("mailbox", "connection")
            for was, becomes in [changed[one.pk]]
        ],
        dict(sent),
        stops_all=bool(messages) and not can_leave,
    )


def in_words(asked: Asked, names: Names) -> str:
    """Return what is asked of a message in words."""
    if asked is None:
        return "it is sent without a person"
    return asked.outcome_in_words(names)


def _can_leave(asked: Asked, message: Message, staff: Staff) -> bool:
    # Who reviews a mailbox that is not known cannot be said.
    reviewers = staff.reviewers.get(message.mailbox_id or 0, staff.people)
    return asked is None or (
        not asked.reject and can_be_completed(asked, reviewers, staff.groups)
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
