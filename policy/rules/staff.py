"""Reads who is there to satisfy rules: reviewers by mailbox, groups, and the names of
what rules can refer to.
"""

from mirror.models import Connection, Mailbox
from people.models import Grant, Person
from policy.calendars.stored import all_calendars
from policy.models import Allowlist, Group
from policy.rules.names import FINDINGS
from policy.rules.rules import Names
from policy.rules.satisfiable import Problem, Staff, problems
from policy.rules.versions import active_policy


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
