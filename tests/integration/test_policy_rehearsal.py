"""Rehearsing a change of the policy: for any rules the same as asking each message one
by one.
"""

from collections import Counter
from datetime import timedelta
from itertools import cycle, pairwise

import pytest
from django.utils import timezone

from approvals.models import Review
from approvals.policy_rules.rehearsal import POINTS, asks, rehearse
from mirror.models import Mailbox, Message
from policy.models import KeyOwner, PolicyVersion
from policy.rules.conditions import Conditions, from_json
from policy.rules.demand import required
from policy.rules.effects import ANY_REVIEWER, Effects
from policy.rules.facts import facts_of, lookups_for
from policy.rules.rules import PolicyRule
from tests.factories import (
    actor_of,
    change_row,
    make_connection,
    make_list,
    make_message,
    make_person,
)

pytestmark = pytest.mark.slow

TRIGGERS = (
    {},
    {"discord_user": "ana#1"},
    {"countersign_edit": "x1"},
    {"discord_user": "", "run_id": "7"},
)
RECIPIENTS = (
    ["ana@acme.com"],
    ["eve@evil.io", "bo@sub.acme.com"],
    ["x@bücher.example"],
    ["a%b@acme.com", "lee@x.gov"],
)


@pytest.fixture
def mail(db):
    """Messages that differ in all that rules ask about, held at many hours of the last
    days.
    """
    # Its words are looked for when the messages come.
    PolicyVersion.objects.create(number=1, rules=[{"when": {"words": ["40"]}}])
    connection = make_connection("first")
    other = make_connection("second", is_our_gateway=False)
    second = Mailbox.objects.create(
        connection=connection, upstream_id="01B", address="b@yourteam.example"
    )
    owner = make_person("owner@yourteam.example", "Otto", "reviewer")
    KeyOwner.objects.create(connection=connection, upstream_key_id="k1", person=owner)
    now = timezone.now()
    made = []
    for number in range(16):
        to = RECIPIENTS[number % 4]
        made.append(
            make_message(
                connection if number % 5 else other,
                to_addresses=to[:1],
                cc=to[1:],
                subject=f"Number {number}",
                markdown=(
                    "We refund 1,250.00 EUR.",
                    "Nothing.",
                    "It costs $40 or 99 EUR.",
                )[number % 3],
            )
        )
    for number, message in enumerate(made):
        change_row(
            message,
            held_at=now - timedelta(hours=7 * number),
            changed_at=now,
            trigger=TRIGGERS[number % 4],
            try_number=1 + number % 3,
            sent_by_key=("", "k1", "k2")[number % 3],
            mailbox=second
            if number % 2 and message.connection_id == connection.pk
            else message.mailbox,
        )
        Review.objects.filter(pk=message.pk).update(
            risk_level=("", "notice", "high")[number % 3],
            rules=([], ["first_contact"], ["payment_details"])[number % 3],
        )
    change_row(made[3], mailbox=None)
    unseen = [
        *Message.objects.get(pk=made[8].pk).written_to,
        "somebody in Bcc (not visible with this key)",
    ]
    change_row(made[8], written_to=unseen)
    # As messages whose columns could not be worked out.
    unknown = [made[5].pk, made[6].pk]
    Message.objects.filter(pk__in=unknown).update(written_to=None)
    Review.objects.filter(pk__in=unknown).update(policy_facts=None)
    return {
        "mailbox": second.pk,
        "key": f"{connection.pk}:k1",
        "owner": owner.pk,
        "list": make_list("acme.com").pk,
    }


EFFECTS = (
    Effects(approvals={ANY_REVIEWER: 2}),
    Effects(approvals={7: 1}, bar_editor=True),
    Effects(reject="No."),
    Effects(expire_minutes=60),
    Effects(office_hours=frozenset({7}), care=True),
)


def rules_of(rows):
    """A rule of each condition; what they ask for takes turns."""
    asked = [
        {"mailboxes": [rows["mailbox"]]}, {"keys": [rows["key"]]}, {"key_owners": [rows["owner"]]},
        {"lists": [rows["list"]]}, {"recipients": ["*.gov"]},
        {"recipients": ["*.acme.com", "evil.io"]},
        {"recipients_except": ["ana@acme.com", "evil.io"]}, {"recipients_from": 2}, {"risk": "notice"},
        {"risk": "high"}, {"findings": ["payment_details"]}, {"attachments": ["document"]}, {"words": ["40"]},
        {"origins": ["discord"]}, {"origins": ["agent"]}, {"amount": "0"},
        {"amount": "1000"}, {"tries_from": 2}, {"first_contact": True},
        {"metadata": "discord_channel=outreach"},
    ]  # fmt: skip
    effects = cycle(EFFECTS)
    return [
        PolicyRule(
            f"r{place}", "Rule", when=from_json(Conditions, when), then=next(effects)
        )
        for place, when in enumerate(asked)
    ]


def one_by_one(before, after, now):
    """What `rehearse` has to say, from every message by itself."""
    counts = Counter()
    turned = []
    looked_at = 0
    messages = Message.objects.select_related("connection").order_by("-pk")
    lookups = lookups_for([*before, *after], now, messages)
    for message in messages:
        facts = facts_of(message, message.review, lookups)
        sides = [required(rules, facts).effects for rules in (before, after)]
        looked_at += 1
        if asks(sides[0]) == asks(sides[1]):
            continue
        turned.append(message.pk)
        for point in POINTS:
            was, becomes = map(point.measure, sides)
            if was != becomes:
                counts[point.more if becomes > was else point.less] += 1
    return looked_at, turned, dict(counts)


def test_rehearsal_of_any_change_says_what_each_message_by_itself_would(mail):
    admin = make_person("root@yourteam.example", "Ruth", "admin").actor(surface="web")
    now = timezone.now()

    rules = rules_of(mail)
    # Each instead of the one before it, and several instead of others.
    policies = [[], *([one] for one in rules), rules[::3], rules[1::3], rules[:4]]
    for before, after in pairwise(policies):
        tried = rehearse(before=before, after=after, actor=admin, now=now)
        found = (
            tried.looked_at,
            [message.pk for message, _, _ in tried.rows],
            {**tried.more, **tried.less},
        )
        assert found == one_by_one(before, after, now), after
        assert tried.changed == len(tried.rows)
    # More than those of which it is not known.
    for rule in rules[2:4]:
        assert rehearse(before=[], after=[rule], actor=admin, now=now).changed > 4, rule
    # It looks only at mail of the last days, and of those at what one may see.
    two = [PolicyRule("two", "Two", then=Effects(approvals={ANY_REVIEWER: 2}))]
    mailbox = Mailbox.objects.get(pk=mail["mailbox"])
    of_one = make_person("one@yourteam.example", "One", "reviewer", mailbox=mailbox)
    tried = rehearse(before=[], after=two, actor=actor_of(of_one), now=now)
    seen = Message.objects.filter(mailbox=mailbox).count()
    assert (tried.looked_at, tried.changed, len(tried.rows)) == (seen, seen, seen)
    old, test = Message.objects.order_by("pk")[:2]
    change_row(old, held_at=now - timedelta(days=31))
    change_row(test, sandbox=True)
    tried = rehearse(before=two, after=[], actor=admin, now=now)
    assert tried.less == {"Fewer approvals": 14}
