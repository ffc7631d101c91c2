"""What the active policy asks of messages: read with the ruling's other facts, or for many messages at once."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from common.patterns import patterns_for
from common.postgres.rows import run
from common.postgres.statements import ValueQuery, array_of, read_values
from mirror.models import Message
from mirror.states import MessageState
from people.actors import Actor
from policy.calendars.stored import ALL_CALENDARS, calendars_from
from policy.rules.conditions import entries_of
from policy.rules.demand import Approval, Demand
from policy.rules.effects import ANY_REVIEWER
from policy.rules.evaluation import Requirement
from policy.rules.facts import facts_from, facts_of
from policy.rules.hours import Calendars
from policy.rules.rules import RuleError
from policy.rules.satisfiable import can_be_completed
from policy.rules.versions import NO_POLICY, Policy, policy_of

_ACTOR, _PATTERNS, _MESSAGE = "{actor}", "{patterns}", "{message}"

# The active version, all groups with whether the actor is in them, all calendars, and the allowlists that name one of
# these patterns.
_POLICY = f"""
(SELECT json_build_object(
  'key', version.id,
  'groups', ARRAY(
    SELECT json_build_array(one.id, one.name, EXISTS(
      SELECT FROM policy_group_members AS member WHERE member.group_id = one.id AND member.person_id = %s::bigint
    )) FROM policy_group AS one ORDER BY one.id
  ),
  'calendars', {ALL_CALENDARS},
  'lists', ARRAY(
    SELECT DISTINCT entry.allowlist_id FROM policy_allowentry AS entry
    WHERE entry.removed_at IS NULL AND entry.pattern = ANY(%s::varchar[])
      AND (entry.expires_at IS NULL OR entry.expires_at > statement_timestamp())
  )
) FROM policy_policyversion AS version WHERE version.state = 'active')
"""  # noqa: S608
# A giver counts as long as they are an active reviewer of the message's mailbox. Relies on verdict_once.
_APPROVALS_OF_MESSAGE = """
ARRAY(
  SELECT json_build_object(
    'message', verdict.message_id, 'person', person.id, 'name', coalesce(nullif(person.name, ''), person.email),
    'surface', verdict.surface, 'at', verdict.given_at,
    'groups', ARRAY(SELECT member.group_id FROM policy_group_members AS member WHERE member.person_id = person.id),
    'may', person.is_active AND EXISTS(
      SELECT FROM people_grant AS held WHERE held.person_id = person.id AND held.role = 'reviewer' AND (
        held.mailbox_id = message.mailbox_id
        OR (held.mailbox_id IS NULL AND (held.connection_id IS NULL OR held.connection_id = message.connection_id))
      )
    )
  )
  FROM approvals_verdict AS verdict JOIN people_person AS person ON person.id = verdict.person_id
  WHERE verdict.live AND verdict.outcome = 'approve'
    AND verdict.message_id = message.id AND verdict.revision_id = message.revision_id
  ORDER BY verdict.id
)
"""
_APPROVALS = f"(SELECT {_APPROVALS_OF_MESSAGE} FROM mirror_message AS message WHERE message.id = %s)"  # noqa: S608
_POLICY_PART = ValueQuery(_POLICY, (_ACTOR, _PATTERNS))
_APPROVALS_PART = ValueQuery(_APPROVALS, (_MESSAGE,))
# Every active reviewer with their groups, and the connections and mailboxes that they review.
_STAFF = """
SELECT json_build_array(person.id, ARRAY(
  SELECT one.group_id FROM policy_group_members AS one WHERE one.person_id = person.id
), ARRAY(
  SELECT json_build_array(held.connection_id, held.mailbox_id)
  FROM people_grant AS held WHERE held.person_id = person.id AND held.role = 'reviewer'
)) FROM people_person AS person WHERE person.is_active AND EXISTS(
  SELECT FROM people_grant AS held WHERE held.person_id = person.id AND held.role = 'reviewer'
)
"""
# For a list: what rules ask of each row that its line does not show. Few rows, found by their keys; the first of them
# brings all reviewers, where a rule asks for certain people.
_ROWS = f"""
SELECT message.id,
  CASE WHEN connection.is_our_gateway THEN message.sent_by_key ELSE '' END, message.written_to,
  message.policy_facts::json, ARRAY(
    SELECT owner.person_id FROM policy_keyowner AS owner
    WHERE owner.connection_id = message.connection_id AND owner.upstream_key_id = message.sent_by_key
      AND connection.is_our_gateway AND message.direction = 'outbound'
  ), {_APPROVALS_OF_MESSAGE}, CASE WHEN message.id = %s THEN ARRAY({_STAFF}) END
FROM mirror_message AS message JOIN mirror_connection AS connection ON connection.id = message.connection_id
WHERE message.id = ANY(%s::bigint[])
"""  # noqa: S608
_LISTS = """
SELECT DISTINCT asked.message, entry.allowlist_id
FROM unnest(%s::bigint[], %s::varchar[]) AS asked(message, pattern)
JOIN policy_allowentry AS entry ON entry.pattern = asked.pattern
WHERE entry.removed_at IS NULL AND entry.allowlist_id = ANY(%s::bigint[])
  AND (entry.expires_at IS NULL OR entry.expires_at > statement_timestamp())
"""


# The active reviewers of a message's mailbox, each with their groups.
_REVIEWERS = """
SELECT person.id, ARRAY(SELECT one.group_id FROM policy_group_members AS one WHERE one.person_id = person.id)
FROM people_person AS person WHERE person.is_active AND EXISTS (
  SELECT FROM people_grant AS held WHERE held.person_id = person.id AND held.role = 'reviewer' AND (
    held.mailbox_id = %s::bigint
    OR (held.mailbox_id IS NULL AND (held.connection_id IS NULL OR held.connection_id = %s::bigint))
  )
)
"""


@dataclass(frozen=True)
class PolicyInForce:
    """The active policy as one statement found it, the names of groups, and those that the actor is in."""

    policy: Policy = NO_POLICY
    groups: Mapping[int, str] = field(default_factory=dict)
    own_groups: frozenset[int] = frozenset()
    lists: frozenset[int] = frozenset()
    calendars: Calendars = field(default_factory=dict)
    is_readable: bool = True


def demand_parts(message: Message, *, actor: Actor) -> dict[str, ValueQuery]:
    """Return the queries for the active policy and the approvals of a message, for `demand_of`."""
    return {
        "policy": policy_part(actor, recipients=message.written_to or ()),
        "approvals": _APPROVALS_PART.with_values({_MESSAGE: message.pk}),
    }


def policy_part(actor: Actor, *, recipients: Iterable[str] = ()) -> ValueQuery:
    """Return the query for the active policy, with the allowlists that name one of these recipients."""
    patterns = sorted({pattern for one in recipients if "@" in one for pattern in patterns_for(one)})
    return _POLICY_PART.with_values({_ACTOR: str(_key_of(actor)), _PATTERNS: patterns})


def policy_from(found: Mapping[str, Any] | None) -> PolicyInForce:
    """Return the active policy from the value of `policy_part`. What cannot be read holds every message."""
    if found is None:
        return PolicyInForce()
    groups = {key: str(name) for key, name, _ in found["groups"]}
    own = frozenset(key for key, _, is_own in found["groups"] if is_own)
    try:
        policy, calendars = policy_of(found["key"]), calendars_from(found["calendars"])
        return PolicyInForce(policy, groups, own, frozenset(found["lists"]), calendars)
    except RuleError:
        return PolicyInForce(groups=groups, own_groups=own, is_readable=False)


def demand_of(
    message: Message,
    facts: Mapping[str, Any],
    *,
    actor: Actor,
    authors: Collection[str],
    editors: Collection[str],
    now: datetime,
    is_decided: bool = False,
) -> Demand:
    """Return what the policy asks of a message, from the values of `demand_parts` and the other facts of its ruling."""
    if facts["policy"] is None:
        # Without a policy one approval decides, so none is ever given beside a decision.
        return Demand()
    in_force = policy_from(facts["policy"])
    asked = Requirement(version=in_force.policy.number)
    unread_sums: tuple[str, ...] = ()
    if in_force.policy.rules:
        known = facts_of(
            message,
            now=now,
            key_owners=facts["owner"] or (),
            lists=in_force.lists,
            calendars=in_force.calendars,
        )
        asked = in_force.policy.required(known)
        unread_sums = known.unread_sums
    demand = _demand(
        in_force,
        asked,
        approvals_from(facts["approvals"]),
        actor=actor,
        authors=authors,
        editors=editors,
        last_editor=facts.get("last_editor") or 0,
        now=now,
        is_decided=is_decided,
    )
    return replace(demand, unread_sums=unread_sums)


def with_possible(message: Message, demand: Demand) -> Demand:
    """Return the demand with whether anybody can complete it; read only where rules ask for certain people."""
    if demand.is_decided or not demand.asks_people or message.state != MessageState.HELD:
        return demand
    people, groups = set(), defaultdict(set)
    for person, own in run(_REVIEWERS, [message.mailbox_id, message.connection_id]).rows:
        if not demand.may_give(person):
            continue
        people.add(person)
        for group in own:
            groups[group].add(person)
    members = {group: frozenset(ones) for group, ones in groups.items()}
    return replace(demand, is_possible=can_be_completed(demand.effects, people, members))


def _demand(
    in_force: PolicyInForce,
    asked: Requirement,
    approvals: Iterable[Approval],
    *,
    actor: Actor,
    authors: Collection[str],
    editors: Collection[str],
    last_editor: int,
    now: datetime,
    is_decided: bool = False,
) -> Demand:
    return Demand(
        requirement=asked,
        approvals=tuple(approvals),
        person=_key_of(actor),
        own_groups=in_force.own_groups,
        authors=frozenset(map(int, filter(str.isdecimal, authors))),
        editors=frozenset(map(int, filter(str.isdecimal, editors))),
        last_editor=last_editor,
        groups=in_force.groups,
        calendars=in_force.calendars,
        now=now,
        is_decided=is_decided,
        is_readable=in_force.is_readable,
    )


def approvals_from(found: Iterable[Mapping[str, Any]] | None) -> list[Approval]:
    """Return the live approvals of a message, from the value of `demand_parts`."""
    return [
        Approval(
            person=one["person"],
            name=one["name"],
            groups=frozenset(one["groups"]),
            may=bool(one["may"]),
            surface=one["surface"],
            at=datetime.fromisoformat(one["at"]),
        )
        for one in found or ()
    ]


def demands_for(
    messages: Sequence[Message],
    *,
    actor: Actor,
    now: datetime,
    in_force: PolicyInForce | None = None,
    authors: Mapping[int, Collection[str]] | None = None,
    editors: Mapping[int, Collection[str]] | None = None,
    last_editors: Mapping[int, int] | None = None,
) -> dict[int, Demand]:
    """Return what the policy asks of many messages by their keys, in a fixed number of queries: none without a policy.

    `in_force` is the active policy, where the caller has read it already.
    """
    if not messages:
        return {}
    if in_force is None:
        in_force = policy_from(read_values({"policy": policy_part(actor)})["policy"])
    if in_force.is_readable and not in_force.policy.number:
        return {}
    first = messages[0].pk if in_force.policy.asks_people else 0
    read = {row[0]: row[1:] for row in run(_ROWS, [first, array_of([one.pk for one in messages])]).rows}
    staff = read[first][-1] if first in read else None
    lists = _lists_of(read, in_force.policy)
    found = {}
    for one in messages:
        asked = _asked_of(one, read.get(one.pk), lists.get(one.pk, ()), in_force, now)
        owners = read[one.pk][3] if one.pk in read else ()
        demand = _demand(
            in_force,
            asked,
            approvals_from(read[one.pk][4]) if one.pk in read else (),
            actor=actor,
            authors=(authors or {}).get(one.pk, ()) or list(map(str, owners)),
            editors=(editors or {}).get(one.pk, ()),
            last_editor=(last_editors or {}).get(one.pk, 0),
            now=now,
        )
        found[one.pk] = replace(demand, is_possible=_is_possible(demand, one, staff)) if staff is not None else demand
    return found


def _asked_of(
    message: Message, row: Sequence[Any] | None, lists: Collection[int], in_force: PolicyInForce, now: datetime
) -> Requirement:
    """Return what the policy asks of a message of a list, from its row of `_ROWS`."""
    if row is None or not in_force.policy.rules:
        return Requirement(version=in_force.policy.number)
    key, written_to, stored, owners, *_ = row
    known = facts_from(
        message,
        sent_by_key=key,
        written_to=written_to,
        stored=stored,
        now=now,
        key_owners=owners,
        lists=lists,
        calendars=in_force.calendars,
    )
    return in_force.policy.required(known)


def _is_possible(demand: Demand, message: Message, staff: Iterable[Sequence[Any]]) -> bool:
    """Whether the reviewers of a message's mailbox could complete it, as `with_possible` asks for one message."""
    if not demand.asks_people:
        return True
    groups: dict[int, set[int]] = {}
    for person, own, scopes in staff:
        reviews = any(
            mailbox == message.mailbox_id if mailbox else connection in (None, message.connection_id)
            for connection, mailbox in scopes
        )
        if reviews and demand.may_give(person):
            for group in (ANY_REVIEWER, *own):
                groups.setdefault(group, set()).add(person)
    members = {group: frozenset(people) for group, people in groups.items()}
    return can_be_completed(demand.effects, groups.get(ANY_REVIEWER, ()), members)


def _lists_of(read: Mapping[int, Sequence[Any]], policy: Policy) -> dict[int, set[int]]:
    """Return by message the allowlists that rules ask for and that name one of its recipients."""
    asked = [
        (key, pattern)
        for key, row in (read.items() if policy.asked_lists else ())
        for one in row[1] or ()
        if "@" in one
        for pattern in entries_of(one)
    ]
    found: dict[int, set[int]] = {}
    if asked:
        keys, patterns = zip(*asked, strict=True)
        for key, one in run(_LISTS, [array_of(keys), list(patterns), array_of(sorted(policy.asked_lists))]).rows:
            found.setdefault(key, set()).add(one)
    return found


def _key_of(actor: Actor) -> int:
    return int(actor.id) if actor.kind == "person" else 0
