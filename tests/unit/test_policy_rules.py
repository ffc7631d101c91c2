"""Rules and passes of the policy as values: when they apply, what cannot be one, and
which rules nobody can meet. Their laws are in test_policy_laws.py.
"""

import json
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
from policy.errors import RuleError
from policy.rules.conditions import Conditions, MessageFacts, Names, from_json
from policy.rules.demand import People, Policy, evaluate, progress
from policy.rules.facts import Lookups, facts_of
from policy.rules.problems import Staff, problems
from policy.rules.rules import (
    Effects,
    Misfit,
    Pass,
    PolicyRule,
    parts_from_json,
    passes_loosen,
)
from simple_form.declarations import rows
from tests.factories import nobody_else

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FACTS = MessageFacts(
    1,
    mailbox=4,
    key="1:k1",
    recipients=("x@acme.example", "dana@northwind.example"),
    amounts={"EUR": "100"},
    is_agents_alone=True,
    lists_of=(frozenset({7}), frozenset({8, 9})),
    hosts=frozenset({"acme.example", "www.acme.example"}),
)

# --- rules ----------------------------------------------------------------------------

KNOWN = ["1/4", "1/5", "1:k1", "1:k2"]
BOSS = ("boss+tag@x.example",)
# What the facts hold in other types than JSON has.
AS_FACT = {
    "recipients": tuple,
    "metadata": frozenset,
    "earlier_keys": frozenset,
}
# Conditions, other facts, and whether they apply. What is added to a connection later
# is meant too; a key that nobody reports may be any of its connection. Each address of a
# mailbox is the person, but left out is only who is named. One of several values is
# enough, and all conditions have to hold.
APPLIES = list(
    rows("""
{"mailboxes": [4]}                        {}                                  yes
{"mailboxes": [4]}                        {"mailbox": 5}                      no
{"mailboxes": [4]}                        {"mailbox": 6}                      yes
{"mailboxes": [4], "only_these": true}    {"mailbox": 6}                      no
{"mailboxes": [4], "known": ["11/4"]}     {"mailbox": 6}                      no
{"keys": ["1:k1"]}                        {"key": "1:k2"}                     no
{"keys": ["1:k1"]}                        {"key": "1:k3"}                     yes
{"keys": ["1:k1"]}                        {"connection": 11, "key": "11:k3"}  no
{"keys": ["1:k1"]}                        {"key": ""}                         no
{"keys": ["1:k1"]}                        {"key": null}                       doubt
{"keys": ["1:k1"]}                        {"key": null, "connection": 2}      no
{"keys": ["1:k1"]}                        {"key": null, "earlier_keys": ["1:k1"]}                    yes
{"recipients": ["boss@x.example"]}        {"recipients": ["boss+tag@x.example"]}                     yes
{"recipients": ["boss@x.example"]}        {"recipients": ["boss+@x.example"]}                        yes
{"recipients": ["boss@gmail.com"]}        {"recipients": ["b.o.ss+1@googlemail.com"]}                yes
{"recipients_except": ["boss@x.example"]}  {"recipients": ["boss+tag@x.example"]}                     yes
{"recipients": ["*.gov"]}                 {"recipients": ["Jörg ‹jörg@agency.gov>"]}                 doubt
{"recipients_from": 3}                    {"recipients": ["somebody in Cc"]}  doubt
{"recipients_from": 3}                    {}                                  no
{"metadata": "tier=gold"}                 {"metadata": ["tier=gold", "n=2"]}  yes
{"metadata": "tier=gold"}                 {"metadata": ["tier=gold="]}        no
{"metadata": "tier=gold"}                 {"metadata": ["tiers=gold"]}        yes
{"metadata": "tier=gold"}                 {"is_inbound": true}                no
{"recipients": ["x.example", "acme.example"], "amount": "100"}                {}    yes
{"recipients": ["x.example", "acme.example"], "amount": "101"}                {}    no
{"amount": "100", "currency": "USD"}      {}                                  no
{"amount": "100", "currency": "USD"}      {"amounts": {"": "100"}}            yes
""")
)


def test_rule_applies_for_certain_in_doubt_or_not():
    for when, facts, holds in APPLIES:
        conditions = json.loads(when)
        if conditions.keys() & {"mailboxes", "keys"}:
            conditions.setdefault("known", KNOWN)
        conditions = from_json(Conditions, conditions)
        others = {
            name: AS_FACT.get(name, lambda value: value)(value)
            for name, value in json.loads(facts).items()
        }
        facts = replace(FACTS, **others)
        assert conditions.apply_to(facts) is (holds != "no"), (when, others)
        assert conditions.certainly_apply_to(facts) is (holds == "yes"), (when, others)


def test_allowlist_does_not_become_wider_by_the_other_addresses_of_a_mailbox():
    assert "boss@x.example" not in patterns_for(*BOSS)


def test_metadata_that_was_not_read_whole_may_have_the_name():
    many = {**dict.fromkeys(map(str, range(50))), "tier": "tin"}
    message = Message(connection=Connection(), trigger=many)
    message.review = Review(rules=[], policy_facts={})
    facts = facts_of(message, Lookups({}, None))
    assert Conditions(metadata="tier=gold").apply_to(facts)


DAYS = (((540, 1020),),) * 7
CALENDARS = {
    1: Calendar("Berlin", ZoneInfo("Europe/Berlin"), DAYS, {date(2026, 11, 20): "X"}),
    2: Calendar("York", ZoneInfo("America/New_York"), DAYS),
}


def test_message_leaves_while_all_calendars_are_open():
    # Berlin is open until 16 UTC, New York from 14.
    for calendars, hours, is_open in (
        ({1}, 0, False),
        ({1}, 24, True),
        ({1}, 30, False),
        ({1, 2}, 25, False),
        ({1, 2}, 26, True),
        ({2, 9}, 26, False),
    ):
        rule = PolicyRule("a", "A", then=Effects(office_hours=frozenset(calendars)))
        at = NOON + timedelta(hours=hours)
        people = People(identities=nobody_else())
        policy = Policy(1, (rule,))
        demand = evaluate(policy, FACTS, at, people, calendars=CALENDARS)
        assert ("hours" not in dict(demand.refusals())) == is_open, (calendars, hours)


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
    calendars={},
    names=Names({"mailboxes": {4: "A", 5: "B"}, "groups": {1: "X", 2: "Y", 3: "Z"}}),
)


# Rules as conditions and effects, and which of them is found. Two of three people satisfy
# each two groups, and nobody all three.
UNSATISFIED = list(
    rows("""
-    FOUR {"approvals": {"1": 2}}
0    {} {"approvals": {"1": 2}}
0    FOUR {"approvals": {"9": 1}}
0    {} {"office_hours": [7]}
1    FOUR {"approvals": {"1": 1}}    FOUR {"barred_groups": [2]}    FOUR {"care": true}
2    FOUR {"approvals": {"1": 1}}    FOUR {"approvals": {"2": 1}}    FOUR {"approvals": {"3": 1}}
""")
)


def test_rules_that_nobody_can_satisfy_are_found():
    for place, *written in UNSATISFIED:
        made = []
        for number, (when, _, then) in enumerate(one.partition(" ") for one in written):
            when = {"mailboxes": [4]} if when == "FOUR" else {}
            rule = {"id": f"{number}", "name": "R", "when": when}
            made.append(from_json(PolicyRule, rule | {"then": json.loads(then)}))
        found = [*problems(made, STAFF)]
        assert found == list(place.strip("-")), written


# --- passes ---------------------------------------------------------------------------

ONE = Pass(
    id="refunds",
    name="Refunds",
    keys=frozenset({"1:k1"}),
    mailboxes=frozenset({4}),
    lists=frozenset({7, 8}),
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
    "amounts": [{"EUR": "100.01"}, {"USD": "1"}, {"": "0"}],
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
    return of.misfits(facts, leaves_at, against, is_asked=is_asked)


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


def test_only_an_earlier_end_fewer_a_day_off_or_gone_does_not_loosen():
    assert not passes_loosen([ONE], [])
    assert not passes_loosen([ONE], [ONE])
    assert not passes_loosen([ONE], [replace(ONE, a_day=19, ends_at=NOON)])
    later = ONE.ends_at + timedelta(minutes=1)
    for changes in (
        {"id": "b"},
        {"a_day": 21},
        {"ends_at": later},
        {"most": Decimal(99)},
    ):
        assert passes_loosen([ONE], [replace(ONE, **changes)]), changes


# --- what cannot be stored ------------------------------------------------------------


NO_RULES = list(
    rows("""
rule    {"approve": true}
rule    {"then": {"approvals": {"1": 0}}}
rule    {"then": {"care": true, "skip": true}}
rule    {"when": {"amount": "NaN"}}
rule    {"when": {"currency": "EUR"}}
rule    {"when": {"words": ["(a+)+$"]}}
pass    {"id": "a-b"}
pass    {"a_day": 1001}
pass    {"currency": ""}
pass    {"ends_at": "2026-12-20T12:00:00"}
pass    {"lists": []}
pass    {"high_risk": true}
""")
)


def test_what_no_rule_or_pass_can_be_is_refused():
    wrong = [(kind, json.loads(text)) for kind, text in NO_RULES]
    wrong.append(("rule", {"when": {"words": [*map(str, range(100, 201))]}}))
    for name, change in wrong:
        kind, stored = (PolicyRule, RULE) if name == "rule" else (Pass, ONE.as_json())
        assert parts_from_json(kind, [stored])[0].as_json() == stored
        with pytest.raises(RuleError):
            pytest.fail(f"{change}: {parts_from_json(kind, [stored | change])}")
        with pytest.raises(RuleError):
            parts_from_json(kind, [stored, stored])
