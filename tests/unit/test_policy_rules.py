"""Rules and passes of the policy as values: when they apply, what cannot be one, and
which rules nobody can meet. Their laws are in test_policy_laws.py.
"""

import json
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from policy.calendars import Calendar
from policy.errors import RuleError
from policy.rules.conditions import Conditions, MessageFacts, Names, from_json
from policy.rules.demand import People, Policy, evaluate, progress
from policy.rules.fields import money_field, money_in_words
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
USUAL = {
    "connection": 1,
    "mailbox": 4,
    "key": "1:k1",
    "recipients": ["x@acme.example", "dana@northwind.example"],
    "amounts": {"EUR": "100"},
    "is_agents_alone": True,
    "lists_of": [[7], [8, 9]],
    "hosts": ["acme.example", "www.acme.example"],
}


def facts_with(others):
    """The usual facts, but for these others."""
    return from_json(MessageFacts, USUAL | json.loads(others))


FACTS = facts_with("{}")

# --- rules ----------------------------------------------------------------------------

KNOWN = ["1/4", "1/5", "1:k1", "1:k2"]
# Conditions, other facts, and whether they apply. What is added to a connection later
# is meant too; a key that nobody reports may be any of its connection. Each address of a
# mailbox is the person, but left out is only who is named. One of several values is
# enough, and all conditions have to hold.
APPLIES = """
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
"""


def test_rule_applies_for_certain_in_doubt_or_not():
    for when, others, holds in rows(APPLIES):
        conditions = from_json(Conditions, {"known": KNOWN, **json.loads(when)})
        facts = facts_with(others)
        assert conditions.apply_to(facts) is (holds != "no"), (when, others)
        assert conditions.certainly_apply_to(facts) is (holds == "yes"), (when, others)


DAYS = (((540, 1020),),) * 7
CALENDARS = {
    1: Calendar("Berlin", ZoneInfo("Europe/Berlin"), DAYS, {date(2026, 11, 20): "X"}),
    2: Calendar("York", ZoneInfo("America/New_York"), DAYS),
}
# Calendars, hours after noon, and whether all are open. Berlin is open until 16 UTC, New
# York from 14.
OPEN = """
1    0   no
1    24  yes
1    30  no
1 2  25  no
1 2  26  yes
2 9  26  no
"""


def test_message_leaves_while_all_calendars_are_open():
    for calendars, hours, is_open in rows(OPEN):
        then = Effects(office_hours=frozenset(map(int, calendars.split())))
        policy = Policy(1, (PolicyRule("a", "A", then=then),))
        at = NOON + timedelta(hours=int(hours))
        people = People(nobody_else())
        demand = evaluate(policy, FACTS, at, people, calendars=CALENDARS)
        is_refused = "hours" in dict(demand.refusals())
        assert is_refused == (is_open == "no"), (calendars, hours)


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


STAFF = Staff(
    reviewers={4: frozenset({1, 2, 3}), 5: frozenset({1})},
    groups=dict.fromkeys((1, 2, 3), frozenset({1, 2})),
    calendars={},
    names=Names(),
)
# Which of the rules is found, and the rules. Two of three people satisfy each two groups,
# and nobody all three.
UNSATISFIED = """
-  {"when": {"mailboxes": [4]}, "then": {"approvals": {"1": 2}}}
0  {"then": {"approvals": {"1": 2}}}
0  {"when": {"mailboxes": [4]}, "then": {"approvals": {"9": 1}}}
0  {"then": {"office_hours": [7]}}
1  {"when": {"mailboxes": [4]}, "then": {"approvals": {"1": 1}}}
   {"when": {"mailboxes": [4]}, "then": {"barred_groups": [2]}}
   {"when": {"mailboxes": [4]}, "then": {"care": true}}
2  {"when": {"mailboxes": [4]}, "then": {"approvals": {"1": 1}}}
   {"when": {"mailboxes": [4]}, "then": {"approvals": {"2": 1}}}
   {"when": {"mailboxes": [4]}, "then": {"approvals": {"3": 1}}}
"""


def test_rules_that_nobody_can_satisfy_are_found():
    for found, *written in rows(UNSATISFIED):
        made = [
            from_json(PolicyRule, {"id": f"{at}", "name": "R", **json.loads(one)})
            for at, one in enumerate(written)
        ]
        assert [*problems(made, STAFF)] == list(found.strip("-")), written


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
# Each keeps a message from being sent.
OTHER_FACTS = """
{"mailbox": 5}
{"is_inbound": true}
{"key": "1:k2"}
{"key": ""}
{"key": "2:k1"}
{"recipients": []}
{"recipients": ["x@acme.example"]}
{"recipients": ["x%e@acme.example", "y"]}
{"recipients": ["y", "y"]}
{"risk_level": "notice"}
{"findings": ["first_contact"]}
{"amounts": {"EUR": "100.01"}}
{"amounts": {"USD": "1"}}
{"amounts": {"": "0"}}
{"unread_sums": ["5000 crowns"]}
{"attachments": ["pdf"]}
{"is_agents_alone": false}
{"tries": 2}
{"is_edited": true}
{"lists_of": []}
{"lists_of": [[7]]}
{"lists_of": [[7], [9]]}
{"hosts": ["evil.example"]}
{"hosts": ["tel:"]}
"""
ALWAYS_KNOWN = ("unread_sums", "is_inbound", "is_edited")


def misfits(facts=FACTS, leaves_at=NOON, against=(), *, of=ONE, is_asked=False):
    return of.misfits(facts, leaves_at, against, is_asked=is_asked)


def test_pass_sends_only_what_it_says_and_nothing_in_doubt():
    assert misfits() == ()
    for others in OTHER_FACTS.strip().splitlines():
        assert misfits(facts_with(others)), others
    for one in fields(FACTS):
        if one.name not in ALWAYS_KNOWN:
            assert Misfit.UNKNOWN in misfits(replace(FACTS, **{one.name: None}))
    assert Misfit.UNKNOWN in misfits(leaves_at=None)
    assert misfits(leaves_at=ONE.ends_at) == (Misfit.ENDED,)
    assert misfits(against=[*Misfit]) == tuple(sorted(Misfit))
    plain = replace(ONE, most=None, currency="", link_domains=frozenset())
    assert misfits(of=plain) == (Misfit.SUM, Misfit.LINKS)


def test_only_an_earlier_end_fewer_a_day_off_or_gone_does_not_loosen():
    for after in ([], [ONE], [replace(ONE, a_day=19, ends_at=NOON)]):
        assert not passes_loosen([ONE], after)
    later = ONE.ends_at + timedelta(minutes=1)
    for changes in ({"id": "b"}, {"a_day": 21}, {"ends_at": later}, {"most": 99}):
        assert passes_loosen([ONE], [replace(ONE, **changes)]), changes


# --- sums -----------------------------------------------------------------------------

TYPED_SUMS = """
0 | 0.00
49.9 | 49.90
49,90 | 49.90
1,000 | 1,000.00
1 000 | 1,000.00
1,225.00 | 1,225.00
1.225,00 | 1,225.00
1'225.00 | 1,225.00
1.000.000 | 1,000,000.00
EUR 1,225.00 | EUR 1,225.00
1 225,00 € | EUR 1,225.00
"""
NO_SUMS = ["1.000", "0,500", "1234,567", "1 .000", "-5", "$5", "5k", "1e3", "5 EUR or USD", "9" * 16]  # fmt: skip


def test_sum_is_read_as_many_countries_write_it_unless_it_is_in_doubt():
    field = money_field("At least", "")
    for line in TYPED_SUMS.strip().splitlines():
        typed, printed = line.split(" | ")
        assert money_in_words(*field.clean(typed)) == printed
    for typed in NO_SUMS:
        with pytest.raises(ValidationError):
            pytest.fail(f"{typed}: {field.clean(typed)}")


# --- what cannot be stored ------------------------------------------------------------

RULE = {"id": "a1", "name": "Payments", "then": {"care": True}}
NO_RULES = """
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
"""


def test_what_no_rule_or_pass_can_be_is_refused():
    wrong = [(kind, json.loads(text)) for kind, text in rows(NO_RULES)]
    wrong.append(("rule", {"when": {"words": [*map(str, range(100, 201))]}}))
    for name, change in wrong:
        kind, stored = (PolicyRule, RULE) if name == "rule" else (Pass, ONE.as_json())
        assert parts_from_json(kind, [stored])[0].as_json() == stored
        # Nor are there two with one id.
        for refused in ([stored | change], [stored, stored]):
            with pytest.raises(RuleError):
                pytest.fail(f"{change}: {parts_from_json(kind, refused)}")
