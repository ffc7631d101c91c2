"""Rehearses a change of the policy: compares what two versions ask of the newest
messages of the last 30 days, and which of these passes would have sent.

Rules about hours are evaluated for the time when each message was held, but with the
present allowlists. Threads and the limits of passes are not looked at. Words that were
not looked for when a message came are looked for in its stored text, which can miss a
word that formatting splits.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import chain
from typing import Any

from django.db.models import TextChoices

from approvals.desk_messages import desk_messages
from common.actors import Actor
from mirror.models import Message, Revision
from mirror.store import stored_content
from policy.rules.conditions import Names
from policy.rules.demand import Policy, asked_by, required
from policy.rules.facts import (
    facts_of,
    leaving_of,
    lookups_for,
    names_for,
    unknown_words,
    words_in,
)
from policy.rules.problems import read_staff
from policy.rules.rules import Effects, Misfit, Pass, Rules, is_as_strict
from rendering import RenderedMessage

DAYS = 30
# How many messages are evaluated, and how many of those with another result are shown.
MOST = 5000
SHOWN = 20
# In how many messages a rule's words are looked for.
READ = 500


class Change(TextChoices):
    """How what is asked of a message differs from before."""

    REJECTED = "rejected", "Rejected"
    MORE = "more", "Needs more"
    NOT_SENT = "not_sent", "No longer sent without a person"
    NOT_REJECTED = "not_rejected", "No longer rejected"
    LESS = "less", "Needs less"
    SENT = "sent", "Sent without a person"


@dataclass(frozen=True)
class Asked:
    """What a version asks of one message: the rules that apply to it, and each pass with
    why it does not send the message.
    """

    spoke: Rules
    passes: list[tuple[Pass, tuple[Misfit, ...]]]

    @cached_property
    def effects(self) -> Effects:
        """What the rules ask for together."""
        return asked_by(self.spoke)

    @property
    def sender(self) -> Pass | None:
        """The pass that sends it."""
        return next((one for one, misfits in self.passes if not misfits), None)

    def in_words(self, names: Names) -> str:
        """Return what is asked."""
        if self.sender:
            return "it is sent without a person"
        return self.effects.in_words(names)


def ask(
    policies: Sequence[Policy],
    messages: Sequence[Message],
    now: datetime,
    leaves_at: datetime | None = None,
) -> dict[Message, list[Asked]]:
    """Return what each of these versions asks of messages that would leave at this time,
    or without it when they were held. Older ones are missing, if in more than READ
    messages words of the rules were not looked for yet.
    """
    parts = [one for policy in policies for one in policy.parts]
    rules = chain.from_iterable(one.rules for one in policies)
    words = chain.from_iterable(one.when.words for one in rules)
    messages = _look_back(messages, {*words})
    lookups = lookups_for(parts, now, messages)
    asked: dict[Message, list[Asked]] = {}
    for message in messages:
        facts = facts_of(message, lookups)
        leaving = leaving_of(message, leaves_at or message.held_at)
        asked[message] = []
        for policy in policies:
            spoke = required(policy, facts)
            passes = [
                (one, one.misfits(facts, *leaving, is_asked=bool(spoke)))
                for one in policy.passes
            ]
            asked[message].append(Asked(spoke, passes))
    return asked


def _look_back(
    messages: Sequence[Message], words: Collection[str]
) -> Sequence[Message]:
    """Look for these words in past messages, the newest first, as far as that
    was not done when they came, and set them in their reviews, which are not saved.
    Return those messages for which that is done.
    """
    unread = [
        one
        for one in messages
        if (facts := one.review.policy_facts) and unknown_words(facts, words)
    ]
    if len(unread) > READ:
        messages = messages[: messages.index(unread[READ])]
    unread = unread[:READ]
    revisions = Revision.objects.in_bulk([one.revision_id for one in unread])
    for message in unread:
        if revision := revisions.get(message.revision_id):
            stored: Any = message.review.policy_facts
            plain = RenderedMessage(document="", text="", plain=revision.html_text)
            sought = unknown_words(stored, words)
            stored["words"] |= words_in(stored_content(revision), plain, sought)
    return messages


@dataclass(frozen=True)
class Rehearsal:
    """What a change of the policy would have done to past messages.

    `changed` is for how many of the `looked_at` messages other things are asked, and
    `counts` how. `rows` are the newest of them, with what is asked before and after, in
    words. `sent` has by the names of the new passes how many messages each would have
    sent. `is_partial` says that only the newest messages were evaluated, and `stops_all`
    that none of them could leave: each would be rejected, or nobody could approve it.
    """

    looked_at: int
    is_partial: bool
    changed: int
    counts: Mapping[Change, int]
    rows: list[tuple[Message, str, str]]
    sent: Mapping[str, int]
    stops_all: bool
    days: int = DAYS


def rehearse(
    *, before: Policy, after: Policy, actor: Actor, now: datetime
) -> Rehearsal:
    """Return what the policy `after` would have asked of past messages that the actor
    may see, compared with the policy `before`. Nothing is written.
    """
    recent = desk_messages().visible_to(actor).held_since(now - timedelta(days=DAYS))
    newest = list(recent.for_policy().order_by("-pk")[: MOST + 1])
    asked = ask((before, after), newest[:MOST], now)
    names = names_for(actor)
    staff = read_staff(names)
    counts: Counter[Change] = Counter()
    sent: Counter[str] = Counter()
    changed = {}
    can_leave = False
    # What is true also of a desk that has held no mail yet.
    rejects_all = any(one.then.reject and not one.when.asked for one in after.rules)
    for message, (was, becomes) in asked.items():
        if becomes.sender:
            sent[becomes.sender.name] += 1
        # Once one is found that could leave, the others are not looked at.
        effects = becomes.effects
        can_leave = can_leave or bool(
            becomes.sender
            or (not effects.reject and staff.can_give(effects, message.mailbox_id))
        )
        if changes := list(_changes(was, becomes)):
            changed[message.pk] = was, becomes
            counts.update(changes)
    shown = Message.objects.filter(pk__in=[*changed][:SHOWN]).order_by("-pk")
    return Rehearsal(
        looked_at=len(asked),
        is_partial=len(newest) > len(asked),
        changed=len(changed),
        counts={one: counts[one] for one in Change if counts[one]},
        rows=[
            (one, was.in_words(names), becomes.in_words(names))
            for one in shown.select_related("mailbox", "connection")
            for was, becomes in [changed[one.pk]]
        ],
        sent=dict(sent),
        stops_all=not can_leave if asked else rejects_all,
    )


def _changes(was: Asked, becomes: Asked) -> Iterator[Change]:
    """Yield how differently is asked. Of a message that a pass sends or sent, or that is
    or was rejected, only that is said.
    """
    one, other = was.effects, becomes.effects
    if bool(was.sender) != bool(becomes.sender):
        yield Change.SENT if becomes.sender else Change.NOT_SENT
    elif bool(one.reject) != bool(other.reject):
        yield Change.REJECTED if other.reject else Change.NOT_REJECTED
    else:
        if not is_as_strict(one, other):
            yield Change.MORE
        if not is_as_strict(other, one):
            yield Change.LESS
