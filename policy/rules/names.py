"""Reads the names of what rules refer to by key (mailboxes, people, groups, lists and
so on), for sentences about rules and for the choices of the rule editor. Also reads who
can approve where, to find rules that nobody can satisfy.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from datetime import timedelta
from itertools import chain
from typing import Any

from django.db.models import Max, QuerySet
from django.db.models.functions import Now

from common.actors import Actor, Role, Scope
from mirror.models import Connection, Mailbox, Message
from people.models import Grant, Person
from policy.calendars import all_calendars
from policy.models import Allowlist, Group, KeyOwner, WorkCalendar
from policy.rules.conditions import MessageFacts
from policy.rules.demand import required
from policy.rules.facts import active_policy
from policy.rules.rules import Part, PolicyRule, RuleError
from policy.rules.satisfiable import Problem, Staff, problems
from policy.rules.wording import Names
from risk.lookalikes import skeleton

# An API key without an owner is offered in the editor if a message that it sent changed
# within this time; a key with an owner is always offered.
_KEYS_SEEN = timedelta(days=30)
# In place of the name of what the person may not see.
_UNSEEN = "another mailbox"
# Sees everything, and can change nothing.
_EVERYTHING = Actor(
    kind="rule", id="policy", label="", surface="worker", scopes=(Scope(Role.AUDITOR),)
)


def names_of_all(rules: Iterable[Part]) -> Names:
    """Return the names of everything that these rules and passes refer to, for the
    ledger.
    """
    return names_for(_EVERYTHING, rules)


def names_for(actor: Actor, rules: Iterable[Part]) -> Names:
    """Return the names of everything that these rules and passes refer to. Mailboxes and
    lists that the actor may not see are named "another mailbox".
    """
    rules = list(rules)
    mailboxes = Mailbox.objects.filter(
        pk__in=set(
            chain.from_iterable(
                one.when.mailboxes | one.when.known_mailboxes for one in rules
            )
        )
    )
    lists = Allowlist.objects.filter(
        pk__in=set(
            chain.from_iterable(one.when.lists | one.when.lists_except for one in rules)
        )
    )
    seen_lists = lists.visible_to(actor)
    owners = {one.owner for one in rules if one.owner is not None}
    people = owners.union(*(one.when.key_owners for one in rules))
    hours = (one.then.office_hours for one in rules if isinstance(one, PolicyRule))
    calendars = set(chain.from_iterable(hours))
    return Names(
        mailboxes=_named(
            mailboxes, {one.pk: str(one) for one in mailboxes.visible_to(actor)}
        ),
        keys=api_keys(actor) if any(one.when.keys for one in rules) else {},
        people={one.pk: str(one) for one in Person.objects.filter(pk__in=people)},
        lists=_named(lists, {one.pk: one.name for one in seen_lists}),
        groups=dict(Group.objects.values_list("pk", "name")),
        calendars=dict(
            WorkCalendar.objects.filter(pk__in=calendars).values_list("pk", "name")
        ),
        connections=dict(
            Connection.objects.visible_to(actor).values_list("pk", "name")
        ),
    )


def _named(rows: QuerySet[Any], seen: Mapping[int, str]) -> dict[int, str]:
    """Return the names of rows by key; "another mailbox" for those that `seen` lacks."""
    return {key: seen.get(key, _UNSEEN) for key in rows.values_list("pk", flat=True)}


def api_keys(actor: Actor) -> dict[str, str]:
    """Return the names of API keys, by "connection:key": keys of visible connections
    that have an owner, or whose messages changed in the last 30 days.

    Keys of hosted MultiMail without an owner are missing: only our own gateway says
    which key sent a message. The query uses the index message_changed.
    """
    connections = Connection.objects.visible_to(actor).at_work()
    names = dict(connections.values_list("pk", "name"))
    owned = KeyOwner.objects.filter(connection__in=names).values_list(
        "connection_id", "upstream_key_id"
    )
    names_by_key = {
        f"{connection}:{key}": f"{key} ({names[connection]})"
        for connection, key in owned
    }
    sent = Message.objects.filter(
        changed_at__gte=Now() - _KEYS_SEEN, connection__in=names
    ).exclude(sent_by_key="")
    rows = (
        sent.order_by()
        .values_list("connection_id", "sent_by_key")
        .annotate(name=Max("sent_by_key_name"))
    )
    for connection, key, name in rows:
        names_by_key[f"{connection}:{key}"] = (
            f"{name or key} ({names[connection]})"
            if len(names) > 1
            else str(name or key)
        )
    # Whoever signs a pass must not take one key for another.
    looks = Counter(map(skeleton, names_by_key.values()))
    return {
        key: f"{name} [{key.partition(':')[2]}]" if looks[skeleton(name)] > 1 else name
        for key, name in names_by_key.items()
    }


def with_known(rule: PolicyRule) -> PolicyRule:
    """Return a rule as it is saved: with the mailboxes and API keys that its connections
    have now. Where it has those of a connection already, what is new to it stays new.
    """
    when = rule.when
    boxes = {
        f"{connection}/{key}": key
        for connection, key in Mailbox.objects.values_list("connection", "pk")
    }
    begins = {
        one.partition("/")[0] + "/" for one in boxes if boxes[one] in when.mailboxes
    }
    begins |= {one.partition(":")[0] + ":" for one in when.keys}
    there = {*boxes, *when.keys, *(api_keys(_EVERYTHING) if when.keys else ())}
    known: set[str] = set()
    # Kept while only these are meant, too: whoever unticks that gets no other rule.
    for begin in begins:
        kept = {one for one in when.known if one.startswith(begin)}
        known |= kept or {one for one in there if one.startswith(begin)}
    return replace(rule, when=replace(when, known=frozenset(known)))


def needs_of_new_mailbox(actor: Actor, connection: int) -> str:
    """Return what the policy may ask for mail of a mailbox that is added to this
    connection, as sentences.
    """
    # Facts that may be not known are not known.
    facts: dict[str, Any] = {
        one.name: None for one in fields(MessageFacts) if "None" in str(one.type)
    }
    facts |= {"connection": connection, "mailbox": 0, "is_edited": True}
    try:
        rules = required(active_policy().rules, MessageFacts(**facts)).spoke
    except RuleError:
        return "The rules of the policy could not be read, so nothing can be approved."
    names = names_for(actor, rules)
    needs = [f"{one.name}: {one.sentence(names)}" for one in rules]
    return "\n".join(needs or ["One approval of any reviewer."])


def read_staff() -> Staff:
    """Return who can approve in which mailbox, the members of each group, and which
    people, lists and calendars exist.
    """
    mailboxes = list(
        Mailbox.objects.filter(connection__in=Connection.objects.at_work()).order_by(
            "pk"
        )
    )
    grants = list(Grant.objects.filter(role="reviewer", person__is_active=True))
    groups = dict(Group.objects.values_list("pk", "name"))
    members: dict[int, set[int]] = {key: set() for key in groups}
    for group, person in Group.members.through.objects.values_list(
        "group_id", "person_id"
    ):
        members[group].add(person)
    people = Person.objects.all()
    return Staff(
        reviewers={
            one.pk: frozenset(
                grant.person_id
                for grant in grants
                if grant.scope.reaches(connection=one.connection_id, mailbox=one.pk)
            )
            for one in mailboxes
        },
        groups={key: frozenset(ones) for key, ones in members.items()},
        people=frozenset(one.pk for one in people if one.is_active),
        lists=frozenset(Allowlist.objects.values_list("pk", flat=True)),
        calendars=all_calendars(),
        names=Names(
            mailboxes={one.pk: str(one) for one in mailboxes},
            people={one.pk: str(one) for one in people},
            lists=dict(Allowlist.objects.values_list("pk", "name")),
            groups=groups,
        ),
    )


def problems_now() -> list[Problem]:
    """Return what is wrong with the rules of the active version. Raises RuleError if
    they cannot be read.
    """
    policy = active_policy()
    return problems(policy.rules, read_staff()) if policy.number else []
