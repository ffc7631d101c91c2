"""Rules and passes of the policy as values: when they apply, what cannot be one, and
which rules nobody can meet. Their laws are in test_policy_laws.py.
"""

from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.models import Review
from common.mail_addresses import patterns_for
from mirror.models import Connection, Message
from policy.calendars import Calendar
from policy.rules.conditions import Amount, Conditions, MessageFacts, Names, from_json
from policy.rules.demand import People, Policy, evaluate, progress
from policy.rules.facts import facts_of
from policy.rules.problems import Staff, problems
from policy.rules.rules import (
    Effects,
    Misfit,
    Pass,
    PolicyRule,
    RuleError,
    Sending,
    parts_from_json,
    passes_loosen,
    rules_loosen,
)
from tests.factories import nobody_else

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FACTS = MessageFacts(
    1,
    mailbox=4,
    key="1:k1",
    recipients=("x@acme.example", "dana@northwind.example"),
    amounts=(Amount(Decimal(100), "EUR"),),
    is_agents_alone=True,
    lists_of=(frozenset({7}), frozenset({8, 9})),
    hosts=frozenset({"acme.example", "www.acme.example"}),
)

# --- rules ----------------------------------------------------------------------------

KNOWN = {"known": ["1/4", "1/5", "1:k1", "1:k2"]}
BOX = {"mailboxes": [4], **KNOWN}
KEY = {"keys": ["1:k1"], **KNOWN}
BOSS = ("boss+tag@x.example",)


@pytest.mark.parametrize(
    ("when", "facts", "holds"),
    [
        # What is added to a connection later is meant too.
        (BOX, {}, True),
        (BOX, {"mailbox": 5}, False),
        (BOX, {"mailbox": 6}, True),
        ({**BOX, "only_these": True}, {"mailbox": 6}, False),
        ({"mailboxes": [4], "known": ["11/4"]}, {"mailbox": 6}, False),
        (KEY, {"key": "1:k2"}, False),
        (KEY, {"key": "1:k3"}, True),
        (KEY, {"connection": 11, "key": "11:k3"}, False),
        (KEY, {"key": ""}, False),
        # A key that nobody reports may be any of its connection; None is doubt.
        (KEY, {"key": None}, None),
        (KEY, {"key": None, "connection": 2}, False),
        (KEY, {"key": None, "earlier_keys": frozenset({"1:k1"})}, True),
        # Each address of a mailbox is the person, but left out is only who is named.
        ({"recipients": ["boss@x.example"]}, {"recipients": BOSS}, True),
        ({"recipients": ["boss@x.example"]}, {"recipients": ("boss+@x.example",)}, True),
        ({"recipients": ["boss@gmail.com"]}, {"recipients": ("b.o.ss+1@googlemail.com",)}, True),
        ({"recipients_except": ["boss@x.example"]}, {"recipients": BOSS}, True),
        ({"recipients": ["*.gov"]}, {"recipients": ("Jörg ‹jörg@agency.gov>",)}, None),
        ({"recipients_from": 3}, {"recipients": ("somebody in Cc",)}, None),
        ({"recipients_from": 3}, {}, False),
        ({"metadata": "tier=gold"}, {"metadata": frozenset({"tier=gold", "n=2"})}, True),
        ({"metadata": "tier=gold"}, {"metadata": frozenset({"tier=gold="})}, False),
        ({"metadata": "tier=gold"}, {"metadata": frozenset({"tiers=gold"})}, True),
        ({"metadata": "tier=gold"}, {"is_inbound": True}, False),
        # One of several values is enough, and all conditions have to hold.
        ({"recipients": ["x.example", "acme.example"], "amount": "100"}, {}, True),
        ({"recipients": ["x.example", "acme.example"], "amount": "101"}, {}, False),
        ({"amount": "100", "currency": "USD"}, {}, False),
        ({"amount": "100", "currency": "USD"}, {"amounts": (Amount(Decimal(100)),)}, True),
    ],
)  # fmt: skip
def test_rule_applies_for_certain_in_doubt_or_not(when, facts, holds):
    conditions = from_json(Conditions, when)
    facts = replace(FACTS, **facts)
    assert conditions.apply_to(facts) is (holds is not False)
    assert conditions.certainly_apply_to(facts) is (holds is True)


BOO = Conditions(high_risk=True, words=frozenset({"boo"}))


@pytest.mark.parametrize(
    ("when", "changes", "loosens"),
    [
        (BOO, {}, False),
        (BOO, {"when": replace(BOO, mailboxes=frozenset({3}))}, True),
        (BOO, {"then": Effects(expire_minutes=5)}, True),
        (BOO, {"when": Conditions(high_risk=True)}, True),
    ],
)
def test_removing_or_changing_a_rule_loosens(when, changes, loosens):
    rule = PolicyRule("a", "A", when=when, then=Effects(care=True))
    assert rules_loosen([rule], [replace(rule, **changes)]) == loosens
    assert rules_loosen([rule], [])


def test_allowlist_does_not_become_wider_by_the_other_addresses_of_a_mailbox():
    assert "boss@x.example" not in patterns_for(*BOSS)


def test_metadata_that_was_not_read_whole_may_have_the_name():
    many = {**dict.fromkeys(map(str, range(50))), "tier": "tin"}
    message = Message(connection=Connection(), trigger=many)
    facts = facts_of(message, Review(rules=[], policy_facts={}))
    assert Conditions(metadata="tier=gold").apply_to(facts)


DAYS = (((540, 1020),),) * 7
CALENDARS = {
    1: Calendar("Berlin", ZoneInfo("Europe/Berlin"), DAYS, {date(2026, 11, 20): "X"}),
    2: Calendar("York", ZoneInfo("America/New_York"), DAYS),
}


@pytest.mark.parametrize(
    ("calendars", "hours", "is_open"),
    [
        ({1}, 0, False),
        ({1}, 24, True),
        ({1}, 30, False),
        # Berlin is open until 16 UTC, New York from 14.
        ({1, 2}, 25, False),
        ({1, 2}, 26, True),
        ({2, 9}, 26, False),
    ],
    ids=str,
)
def test_message_leaves_while_all_calendars_are_open(calendars, hours, is_open):
    rule = PolicyRule("a", "A", then=Effects(office_hours=frozenset(calendars)))
    demand = evaluate(
        Policy(1, (rule,)),
        FACTS,
        NOON + timedelta(hours=hours),
        People(identities=nobody_else()),
        calendars=CALENDARS,
    )
    assert ("hours" not in dict(demand.refusals())) == is_open


members = st.dictionaries(st.integers(1, 4), st.frozensets(st.integers(1, 6)))
asked = st.dictionaries(st.integers(0, 4), st.integers(1, 4), max_size=3)


@given(asked, members)
def test_whoever_helps_in_turn_completes_it_wherever_all_together_can(asked, members):
    everybody = range(1, 7)
    asked = Effects(asked)
    givers = set()
    for one in [*everybody] * 6:
        before = progress(asked, givers, members)
        if progress(asked, {*givers, one}, members).given > before.given:
            givers.add(one)
    assert (
        progress(asked, givers, members).is_complete
        == progress(asked, everybody, members).is_complete
    )


RULE = {"id": "a1", "name": "Payments", "then": {"care": True}}
STAFF = Staff(
    reviewers={4: frozenset({1, 2, 3}), 5: frozenset({1})},
    groups=dict.fromkeys((1, 2, 3), frozenset({1, 2})),
    names=Names(mailboxes={4: "A", 5: "B"}, groups={1: "X", 2: "Y", 3: "Z"}),
)
FOUR = {"mailboxes": [4]}


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ([(FOUR, {"approvals": {"1": 2}})], []),
        ([({}, {"approvals": {"1": 2}})], ["r0"]),
        ([(FOUR, {"approvals": {"9": 1}})], ["r0"]),
        ([({}, {"office_hours": [7]})], ["r0"]),
        ([(FOUR, {"approvals": {"1": 1}}), (FOUR, {"barred_groups": [2]}), (FOUR, {"care": True})], ["r1"]),
        # Two of three people satisfy each two of these, and nobody all three.
        ([(FOUR, {"approvals": {one: 1}}) for one in "123"], ["r2"]),
    ],
)  # fmt: skip
def test_rules_that_nobody_can_satisfy_are_found(rules, found):
    rules = [
        PolicyRule.from_json({"id": f"r{at}", "name": "R", "when": when, "then": then})
        for at, (when, then) in enumerate(rules)
    ]
    assert [one.rule for one in problems(rules, STAFF)] == found


# --- passes ---------------------------------------------------------------------------

ONE = Pass(
    id="refunds",
    name="Refunds",
    when=Conditions(
        keys=frozenset({"1:k1"}), mailboxes=frozenset({4}), lists=frozenset({7, 8})
    ),
    ends_at=NOON + timedelta(days=30),
    a_day=20,
    most=Decimal(100),
    currency="EUR",
    link_domains=frozenset({"acme.example", "*.acme.example"}),
)
# For each field of the facts, values that keep a message from being sent.
OTHER_FACTS = {
    "mailbox": [5],
    "is_inbound": [True],
    "key": ["1:k2", "", "2:k1"],
    "recipients": [(), ("x@acme.example",), ("x%e@acme.example", "y"), ("y", "y")],
    "risk_level": ["notice"],
    "findings": [frozenset({"first_contact"})],
    "amounts": [
        (Amount(Decimal("100.01"), "EUR"),),
        (Amount(Decimal(1), "USD"),),
        (Amount(Decimal(0)),),
    ],
    "unread_sums": [("5000 crowns",)],
    "attachments": [frozenset({"pdf"})],
    "is_agents_alone": [False],
    "tries": [2],
    "is_edited": [True],
    "lists_of": [(), (frozenset({7}),), (frozenset({7}), frozenset({9}))],
    "hosts": [frozenset({"evil.example"}), frozenset({"tel:"})],
}
ALWAYS_KNOWN = ("unread_sums", "is_inbound", "is_edited")


def misfits(facts=FACTS, leaves_at=NOON, against=(), *, of=ONE, is_asked=False):
    sending = Sending(leaves_at, frozenset(against))
    return of.misfits(facts, sending, is_asked=is_asked)


def test_pass_sends_only_what_it_says_and_nothing_in_doubt():
    assert misfits() == ()
    for name, values in OTHER_FACTS.items():
        for value in values:
            assert misfits(replace(FACTS, **{name: value})), (name, value)
    for one in fields(FACTS):
        if one.name not in ALWAYS_KNOWN:
            assert Misfit.UNKNOWN in misfits(replace(FACTS, **{one.name: None}))
    assert Misfit.UNKNOWN in misfits(leaves_at=None)
    assert misfits(leaves_at=ONE.ends_at) == (Misfit.ENDED,)
    assert misfits(against=[*Misfit]) == tuple(sorted(Misfit))
    plain = replace(ONE, most=None, currency="", link_domains=frozenset())
    assert misfits(of=plain) == (Misfit.SUM, Misfit.LINKS)


@pytest.mark.parametrize(
    ("changes", "loosens"),
    [
        ({}, False),
        ({"a_day": 19, "ends_at": NOON}, False),
        ({"id": "other"}, True),
        ({"a_day": 21}, True),
        ({"ends_at": ONE.ends_at + timedelta(minutes=1)}, True),
        ({"most": Decimal(99)}, True),
    ],
    ids=str,
)
def test_only_an_earlier_end_fewer_a_day_off_or_gone_does_not_loosen(changes, loosens):
    assert passes_loosen([ONE], [replace(ONE, **changes)]) == loosens
    assert not passes_loosen([ONE], [])


# --- what cannot be stored ------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (PolicyRule, {"approve": True}),
        (PolicyRule, {"then": {"approvals": {"1": 0}}}),
        (PolicyRule, {"then": {"care": True, "skip": True}}),
        (PolicyRule, {"when": {"amount": "NaN"}}),
        (PolicyRule, {"when": {"currency": "EUR"}}),
        (PolicyRule, {"when": {"words": [str(one) for one in range(100, 201)]}}),
        (PolicyRule, {"when": {"words": ["(a+)+$"]}}),
        (Pass, {"id": "a-b"}),
        (Pass, {"a_day": 1001}),
        (Pass, {"currency": ""}),
        (Pass, {"ends_at": "2026-12-20T12:00:00"}),
        (Pass, {"when": {"keys": ["1:k1"], "mailboxes": [4]}}),
        (Pass, {"when": {**ONE.as_json()["when"], "high_risk": True}}),
        (Pass, {"then": {}}),
    ],
)
def test_what_no_rule_or_pass_can_be_is_refused(kind, wrong):
    stored = RULE if kind is PolicyRule else ONE.as_json()
    assert kind.from_json(stored).as_json() == stored
    with pytest.raises(RuleError):
        kind.from_json({**stored, **wrong})
    with pytest.raises(RuleError):
        parts_from_json(kind, [stored, stored])
