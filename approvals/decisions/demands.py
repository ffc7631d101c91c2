"""What the active policy asks of messages, and what is given of it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from approvals.decisions.contributors import contributors_of
from approvals.models import Verdict
from common.actors import Actor, Role, Scope
from mirror.models import Message
from mirror.states import Outcome
from people.models import Grant
from policy.calendars import all_calendars
from policy.evaluation import Contributors
from policy.models import Group
from policy.rules.conditions import Calendars, entries_of
from policy.rules.demand import Approval, Demand, Requirement
from policy.rules.facts import (
    NO_POLICY,
    Policy,
    active_policy,
    facts_of,
    lists_by_entry,
)
from policy.rules.rules import RuleError
from policy.rules.satisfiable import can_be_completed


@dataclass(frozen=True)
class PolicyInForce:
    """The active policy, the calendars and groups that its rules name, and the groups
    that the actor is in.
    """

    policy: Policy = NO_POLICY
    groups: Mapping[int, str] = field(default_factory=dict)
    own_groups: frozenset[int] = frozenset()
    calendars: Calendars = field(default_factory=dict)
    is_readable: bool = True


@dataclass(frozen=True)
class _Reviewers:
    """What each active reviewer reviews, and who is in which groups."""

    scopes: Mapping[int, Sequence[Scope]] = field(default_factory=dict)
    groups: Mapping[int, frozenset[int]] = field(default_factory=dict)

    def may_review(self, person: int, message: Message) -> bool:
        """Whether a person is an active reviewer of the message's mailbox."""
        scopes = self.scopes.get(person, ())
        return any(
            one.reaches(connection=message.connection_id, mailbox=message.mailbox_id)
            for one in scopes
        )


def policy_in_force(actor: Actor) -> PolicyInForce:
    """Return the active policy. What cannot be read holds every message."""
    try:
        policy = active_policy()
    except RuleError:
        return PolicyInForce(is_readable=False)
    groups: dict[int, str] = {}
    own_groups: frozenset[int] = frozenset()
    if policy.names_groups:
        groups = dict(Group.objects.values_list("pk", "name"))
        own_groups = frozenset(
            Group.objects.filter(members=key_of(actor)).values_list("pk", flat=True)
        )
    calendars = all_calendars() if policy.names_calendars else {}
    return PolicyInForce(policy, groups, own_groups, calendars)


def demands_for(
    messages: Sequence[Message],
    actor: Actor,
    *,
    now: datetime,
    in_force: PolicyInForce | None = None,
    contributors: Mapping[int, Contributors] | None = None,
    is_decided: bool = False,
) -> dict[int, Demand]:
    """Return what the policy asks of each message, by the messages' keys; nothing where
    no policy is active.

    In a fixed number of queries. `in_force` and `contributors` are passed by callers
    that have read them already. `is_decided`: the approvals are there, and are asked
    again before they are carried out.
    """
    in_force = in_force or policy_in_force(actor)
    if not messages or (in_force.is_readable and not in_force.policy.number):
        return {}
    contributors = contributors or contributors_of(messages)
    lists = _lists_naming(messages, in_force.policy, now)
    verdicts = _live_approvals(messages)
    reviewers = (
        _read_reviewers() if verdicts or in_force.policy.asks_people else _Reviewers()
    )
    found = {}
    for message in messages:
        behind = contributors[message.pk]
        requirement = Requirement(version=in_force.policy.number)
        unread_sums: tuple[str, ...] = ()
        if in_force.policy.rules:
            facts = facts_of(
                message,
                message.review,
                now=now,
                key_owners=behind.key_owners,
                lists=lists.get(message.pk, ()),
                calendars=in_force.calendars,
            )
            requirement = in_force.policy.required(facts)
            unread_sums = facts.unread_sums
        approvals = []
        for one in verdicts.get(message.pk, ()):
            # It counts as long as its giver is an active reviewer of the mailbox.
            approvals.append(
                Approval(
                    person=one.person_id,
                    name=str(one.person),
                    groups=reviewers.groups.get(one.person_id, frozenset()),
                    may=reviewers.may_review(one.person_id, message),
                    surface=one.surface,
                    at=one.given_at,
                )
            )
        demand = Demand(
            requirement=requirement,
            approvals=tuple(approvals),
            person=key_of(actor),
            own_groups=in_force.own_groups,
            authors=behind.authors,
            editors=barred_editors(message, behind),
            last_editor=behind.last_editor,
            groups=in_force.groups,
            calendars=in_force.calendars,
            now=now,
            is_decided=is_decided,
            is_readable=in_force.is_readable,
            unread_sums=unread_sums,
        )
        found[message.pk] = replace(
            demand, is_possible=_is_possible(demand, message, reviewers)
        )
    return found


def barred_editors(message: Message, contributors: Contributors) -> frozenset[int]:
    """Return who edited the message and may not approve it, because its mailbox wants
    somebody else to.
    """
    own_edits_count = message.mailbox is not None and message.mailbox.editor_may_approve
    return frozenset() if own_edits_count else contributors.editors


def key_of(actor: Actor) -> int:
    """Return the key of the person who acts; 0 for a worker or a rule."""
    return int(actor.id) if actor.kind == "person" else 0


def _lists_naming(
    messages: Sequence[Message], policy: Policy, now: datetime
) -> dict[int, Collection[int]]:
    """Return by message the allowlists that rules ask for and that name one of its
    recipients.
    """
    if not policy.asked_lists:
        return {}
    entries = {
        message.pk: {
            entry
            for one in message.written_to or ()
            if "@" in one
            for entry in entries_of(one)
        }
        for message in messages
    }
    by_entry = lists_by_entry(policy.asked_lists, set().union(*entries.values()), now)
    return {
        key: {one for entry in own for one in by_entry.get(entry, ())}
        for key, own in entries.items()
    }


def _live_approvals(messages: Sequence[Message]) -> dict[int, list[Verdict]]:
    """Return by message the live approvals of its current version, the oldest first."""
    approvals = Verdict.objects.given_on(messages).filter(
        live=True, outcome=Outcome.APPROVE
    )
    versions = {message.pk: message.revision_id for message in messages}
    found: dict[int, list[Verdict]] = {}
    for one in approvals.defer("seen"):
        if one.revision_id == versions[one.message_id]:
            found.setdefault(one.message_id, []).append(one)
    return found


def _read_reviewers() -> _Reviewers:
    scopes: dict[int, list[Scope]] = {}
    for grant in Grant.objects.filter(role=Role.REVIEWER, person__is_active=True):
        scopes.setdefault(grant.person_id, []).append(grant.scope)
    groups: dict[int, frozenset[int]] = {}
    for member in Group.members.through.objects.all():
        groups[member.person_id] = groups.get(member.person_id, frozenset()) | {
            member.group_id
        }
    return _Reviewers(scopes, groups)


def _is_possible(demand: Demand, message: Message, reviewers: _Reviewers) -> bool:
    """Whether the reviewers of a held message's mailbox could together give what is
    asked for.
    """
    if demand.is_decided or not demand.asks_people or not message.is_held:
        return True
    people = {
        one
        for one in reviewers.scopes
        if reviewers.may_review(one, message) and demand.may_give(one)
    }
    members: dict[int, set[int]] = {}
    for person in people:
        for group in reviewers.groups.get(person, ()):
            members.setdefault(group, set()).add(person)
    return can_be_completed(
        demand.effects,
        people,
        {group: frozenset(ones) for group, ones in members.items()},
    )
