"""Reads who is there to satisfy rules: reviewers by mailbox, groups, and the names of
what rules can refer to.
"""

from collections.abc import Iterable

from mirror.models import Connection, Mailbox
from people.models import Grant, Person
from policy.calendars.stored import all_calendars
from policy.models import Allowlist, Group
from policy.rules.rules import Names
from policy.rules.satisfiable import Problem, Staff, problems
from policy.rules.versions import active_policy
from risk import RULES


def read_staff() -> Staff:
    """Return everybody who can approve, where, and in which groups."""
    mailboxes = list(
        Mailbox.objects.filter(connection__in=Connection.objects.at_work()).order_by(
            "pk"
        )
    )
    grants = list(Grant.objects.filter(role="reviewer", person__is_active=True))
    reviewers = {one.pk: frozenset(_reviewing(one, grants)) for one in mailboxes}
    members: dict[int, set[int]] = {
        key: set() for key in Group.objects.values_list("pk", flat=True)
    }
    for group, person in Group.members.through.objects.values_list(
        "group_id", "person_id"
    ):
        members[group].add(person)
    people = Person.objects.all()
    return Staff(
        reviewers=reviewers,
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
            groups=dict(Group.objects.values_list("pk", "name")),
            findings={name: rule.words for name, rule in RULES.items()},
        ),
    )


def problems_now() -> list[Problem]:
    """Return what is wrong with the rules of the active version. Raises RuleError where
    they cannot be read.
    """
    policy = active_policy()
    return problems(policy.rules, read_staff()) if policy.rules else []


def _reviewing(mailbox: Mailbox, grants: Iterable[Grant]) -> Iterable[int]:
    for grant in grants:
        is_here = grant.mailbox_id == mailbox.pk or (
            grant.mailbox_id is None
            and grant.connection_id in (None, mailbox.connection_id)
        )
        if is_here:
            yield grant.person_id
