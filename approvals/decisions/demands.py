"""What the active policy asks of messages, and what is given of it; and who started
and edited them: these people may not approve them.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.db.models import F, Q

from approvals.models import CommandedMail, Replacement, Verdict
from approvals.models.replacements import edit_of
from common.actors import Actor, Role, Scope
from mirror.models import Message
from mirror.states import Outcome
from people.models import Grant
from policy.calendars import all_calendars
from policy.evaluation import Contributors
from policy.models import Group, KeyOwner
from policy.rules.conditions import entries_of
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


def contributors_of(messages: Sequence[Message]) -> dict[int, Contributors]:
    """Return who started and who edited each message, by the messages' keys, in three
    queries at most.
    """
    connections = {one.connection_id for one in messages}
    # The owners of the programs that sent these messages, by connection and API key.
    owners: defaultdict[tuple[int, str], set[int]] = defaultdict(set)
    if keys := {key for one in messages if (key := _proven_key(one))}:
        for owner in KeyOwner.objects.filter(
            connection__in=connections, upstream_key_id__in=keys
        ):
            owners[owner.connection_id, owner.upstream_key_id].add(owner.person_id)
    # Who gave the commands, by connection and the id of message or interaction. Either
    # is enough: a message that names somebody else's interaction only keeps that person
    # from approving it.
    commanders: defaultdict[tuple[int, str], set[int]] = defaultdict(set)
    upstream_ids = {one.upstream_id for one in messages if one.upstream_id}
    interactions = {_interaction_of(one) for one in messages} - {""}
    for command in CommandedMail.objects.filter(
        Q(upstream_id__in=upstream_ids) | Q(interaction_id__in=interactions),
        connection__in=connections,
    ):
        for key in (command.interaction_id, command.upstream_id):
            commanders[command.connection_id, key].add(command.person_id)
    edits = Replacement.objects.that_made(messages).only(
        "connection", "upstream_id", "reference", "person", "editors", "authors"
    )
    found = {}
    for message in messages:
        connection = message.connection_id
        key_owners = owners[connection, _proven_key(message)]
        authors = set(key_owners)
        for key in filter(None, (message.upstream_id, _interaction_of(message))):
            authors |= commanders[connection, key]
        editors: set[int] = set()
        last_editor = 0
        # The oldest first.
        for edit in edits:
            names_it = (
                edit.upstream_id == message.upstream_id
                if edit.upstream_id
                else edit.reference == edit_of(message)
            )
            if edit.connection_id == connection and names_it:
                authors.update(edit.authors)
                editors.update(edit.editors)
                last_editor = last_editor or edit.person_id
        found[message.pk] = Contributors(
            key_owners=frozenset(key_owners),
            authors=frozenset(authors),
            editors=frozenset(editors),
            last_editor=last_editor,
        )
    return found


def _proven_key(message: Message) -> str:
    """Return the API key that a message was sent with; empty unless our own gateway
    reports it.
    """
    is_proven = message.direction == "outbound" and message.connection.is_our_gateway
    return message.sent_by_key if is_proven else ""


def _interaction_of(message: Message) -> str:
    return str(message.trigger.get("discord_interaction_id") or "")[:32]


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

    scopes: defaultdict[int, list[Scope]] = field(
        default_factory=lambda: defaultdict(list)
    )
    groups: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))

    def may_review(self, person: int, message: Message) -> bool:
        """Whether a person is an active reviewer of the message's mailbox."""
        return any(
            one.reaches(connection=message.connection_id, mailbox=message.mailbox_id)
            for one in self.scopes.get(person, ())
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
    # The live approvals of each message's current version, the oldest first.
    given = Verdict.objects.given_on(messages).filter(
        live=True, outcome=Outcome.APPROVE, revision=F("message__revision")
    )
    verdicts: defaultdict[int, list[Verdict]] = defaultdict(list)
    for verdict in given.defer("seen"):
        verdicts[verdict.message_id].append(verdict)
    reviewers = _Reviewers()
    if verdicts or in_force.policy.asks_people:
        for grant in Grant.objects.filter(role=Role.REVIEWER, person__is_active=True):
            reviewers.scopes[grant.person_id].append(grant.scope)
        for member in Group.members.through.objects.all():
            reviewers.groups[member.person_id].add(member.group_id)
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
        for one in verdicts[message.pk]:
            # It counts as long as its giver is an active reviewer of the mailbox.
            approvals.append(
                Approval(
                    person=one.person_id,
                    name=str(one.person),
                    groups=frozenset(reviewers.groups[one.person_id]),
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
    members: defaultdict[int, frozenset[int]] = defaultdict(frozenset)
    for person in people:
        for group in reviewers.groups[person]:
            members[group] |= {person}
    return can_be_completed(demand.effects, people, members)
