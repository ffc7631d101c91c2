"""What the rules refer to by key, with names: for their sentences, and to choose from
in a form. And who is there to satisfy them.
"""

from collections.abc import Iterable, Mapping
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
from policy.rules.facts import active_policy
from policy.rules.rules import Names, PolicyRule
from policy.rules.satisfiable import Problem, Staff, problems
from risk.rules import RULES

FINDINGS: Mapping[str, str] = {one.name: one.words for one in RULES.values()}
# How long an API key that sent nothing is offered; its owner, where it has one, is
# known for ever.
_KEYS_SEEN = timedelta(days=30)
_UNSEEN = "another mailbox"
_EVERYTHING = Actor(
    kind="rule", id="policy", label="", surface="worker", scopes=(Scope(Role.AUDITOR),)
)


def names_of_all(rules: Iterable[PolicyRule]) -> Names:
    """Return the names of all that these rules refer to, for the ledger."""
    return names_for(_EVERYTHING, rules)


def names_for(actor: Actor, rules: Iterable[PolicyRule]) -> Names:
    """Return the names of all that these rules refer to, for the actor: mailboxes that
    they do not see stay unnamed.
    """
    rules = list(rules)
    mailboxes = Mailbox.objects.filter(
        pk__in=set(chain.from_iterable(one.when.mailboxes for one in rules))
    )
    lists = Allowlist.objects.filter(
        pk__in=set(chain.from_iterable(one.when.lists for one in rules))
    )
    seen_lists = lists.visible_to(actor).select_related("mailbox", "connection")
    owners = {one.owner for one in rules if one.owner is not None}
    people = owners.union(*(one.when.key_owners for one in rules))
    calendars = set(chain.from_iterable(one.calendars for one in rules))
    return Names(
        mailboxes=_named(
            mailboxes, {one.pk: str(one) for one in mailboxes.visible_to(actor)}
        ),
        keys=api_keys(actor) if any(one.when.keys for one in rules) else {},
        people={one.pk: str(one) for one in Person.objects.filter(pk__in=people)},
        lists=_named(lists, {one.pk: one.label for one in seen_lists}),
        groups=dict(Group.objects.values_list("pk", "name")),
        findings=FINDINGS,
        calendars=dict(
            WorkCalendar.objects.filter(pk__in=calendars).values_list("pk", "name")
        ),
    )


def _named(rows: QuerySet[Any], seen: Mapping[int, str]) -> dict[int, str]:
    """Return the names of rows by key; those that the actor does not see stay unnamed."""
    return {key: seen.get(key, _UNSEEN) for key in rows.values_list("pk", flat=True)}


def api_keys(actor: Actor) -> dict[str, str]:
    """Return the API keys that sent something in the last 30 days or have an owner, of
    connections that are visible.

    Only our own gateway says which key sent a message (relies on message_changed).
    """
    connections = Connection.objects.visible_to(actor).at_work()
    names = dict(connections.values_list("pk", "name"))
    owned = KeyOwner.objects.filter(connection__in=names).values_list(
        "connection_id", "upstream_key_id"
    )
    found = {
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
        found[f"{connection}:{key}"] = (
            f"{name or key} ({names[connection]})"
            if len(names) > 1
            else str(name or key)
        )
    return found


def read_staff() -> Staff:
    """Return everybody who can approve, where, and in which groups."""
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
            lists={
                one.pk: one.label
                for one in Allowlist.objects.select_related("connection", "mailbox")
            },
            groups=groups,
            findings=FINDINGS,
        ),
    )


def problems_now() -> list[Problem]:
    """Return what is wrong with the rules of the active version. Raises RuleError where
    they cannot be read.
    """
    policy = active_policy()
    return problems(policy.rules, read_staff()) if policy.rules else []
