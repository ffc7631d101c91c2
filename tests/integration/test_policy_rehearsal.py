"""Rehearsing a change of the policy: what it says of messages that differ, and of which
it says nothing.
"""

from datetime import timedelta

import pytest
from django.utils import timezone

from approvals.policy_rules.rehearsal import rehearse
from mirror.models import Mailbox, Message
from policy.models import Group
from policy.rules.demand import Policy
from policy.rules.rules import PolicyRule
from tests.factories import actor_of, change_row, make_message, make_person


def rule(when=None, **then):
    return PolicyRule.from_json(
        {"id": "r", "name": "Rule", "when": when or {}, "then": then}
    )


def tried_by(person, before=(), after=()):
    versions = {
        "before": Policy(rules=tuple(before)),
        "after": Policy(rules=tuple(after)),
    }
    return rehearse(**versions, actor=actor_of(person), now=timezone.now())


TWO = {"0": 2}
MONEY = {"amount": "1000"}
FAR = {"recipients": ["*.gov"]}


@pytest.fixture
def mail(connection, reviewer, second_reviewer):
    """Three messages: of a large sum, to a public office, and of which nothing is
    known.
    """
    made = [
        make_message(connection, markdown="We refund 1,250.00 EUR."),
        make_message(connection, to_addresses=["lee@x.gov"]),
        make_message(connection),
    ]
    Message.objects.update(held_at=timezone.now() - timedelta(hours=1))
    change_row(made[2], written_to=None)
    change_row(made[2].review, policy_facts=None)
    return made


@pytest.mark.parametrize(
    ("before", "after", "changed", "counts"),
    [
        ([], [rule(MONEY, approvals=TWO)], (2, 0), {"more": 2}),
        ([rule(FAR, reject="No.")], [], (2, 1), {"not_rejected": 2}),
        (
            [rule(FAR, approvals=TWO, care=True)],
            [rule(MONEY, approvals={"0": 3}, expire_minutes=60)],
            (2, 1, 0),
            {"more": 2, "less": 2},
        ),
        # The same approvals in another way, and a rule that is said twice.
        ([rule(approvals=TWO)], [rule(FAR, approvals=TWO), rule(approvals=TWO)], (), {}),
        ([], [rule(FAR, bar_editor=True)], (), {}),
        (
            [rule(approvals=TWO)],
            [rule(FAR, office_hours=[7], barred_groups=[9])],
            (2, 1, 0),
            {"more": 2, "less": 3},
        ),
    ],
)  # fmt: skip
def test_rehearsal_says_of_how_many_messages_something_else_is_asked(
    mail, admin, before, after, changed, counts
):
    tried = tried_by(admin, before, after)
    assert (tried.looked_at, tried.changed, tried.is_partial) == (
        3,
        len(changed),
        False,
    )
    assert [one for one, _, _ in tried.rows] == [mail[n] for n in changed]
    assert tried.counts == counts


def test_rehearsal_looks_at_mail_of_the_last_days_that_one_may_see(
    mail, admin, connection
):
    now = timezone.now()
    far = Mailbox.objects.create(
        connection=connection, upstream_id="01FAR", address="far@yourteam.example"
    )
    change_row(mail[0], mailbox=far)
    change_row(mail[1], sandbox=True)
    of_one = make_person("one@yourteam.example", "One", "reviewer", mailbox=far)
    for person, looked_at in ((admin, 2), (of_one, 1)):
        tried = tried_by(person)
        assert (tried.looked_at, tried.stops_all) == (looked_at, False)
    change_row(mail[0], held_at=now - timedelta(days=31))
    tried = tried_by(of_one)
    assert (tried.looked_at, tried.stops_all) == (0, False)


def test_rehearsal_says_that_no_message_could_leave(mail, admin, reviewer):
    group = Group.objects.create(name="Finance")

    def stops_all(*rules):
        return tried_by(admin, after=rules).stops_all

    of_group = rule(approvals={str(group.pk): 1})
    assert stops_all(rule(reject="No."))
    assert stops_all(of_group)
    assert stops_all(rule(MONEY, reject="No."), of_group)
    assert not stops_all(rule(MONEY, reject="No."))
    group.members.add(reviewer)
    assert not stops_all(of_group)
