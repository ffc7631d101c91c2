"""Rules and passes of the policy as values: when they apply, what cannot be one, and
which rules nobody can meet. Their laws are in test_policy_laws.py.
"""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime

import pytest
from django.core.exceptions import ValidationError

from policy.errors import RuleError
from policy.rules.conditions import Conditions, MessageFacts, Names, from_json
from policy.rules.fields import money_field, money_in_words
from policy.rules.problems import Staff, problems
from policy.rules.rules import (
    Misfit,
    Pass,
    PolicyRule,
    parts_from_json,
    passes_loosen,
)
from simple_form.data import rows

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
USUAL = json.loads("""{
"connection": 1, "mailbox": 4, "key": "1:k1",
"recipients": ["x@acme.example", "dana@northwind.example"],
"amounts": {"EUR": "100"}, "is_agents_alone": true, "lists_of": [[7], [8, 9]],
"hosts": ["acme.example", "www.acme.example"]
}""")


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

STORED = json.loads("""{
"id": "refunds", "name": "Refunds",
"keys": ["1:k1"], "mailboxes": [4], "lists": [7, 8], "ends_at": "2026-12-20T12:00:00Z",
"a_day": 20, "most": "100", "currency": "EUR", "link_domains": ["*.acme.example", "acme.example"]
}""")


def pass_with(others):
    """The usual pass, but for these other values."""
    return from_json(Pass, STORED | json.loads(others))


ONE = pass_with("{}")
# Each keeps a message from being sent, for this reason.
OTHER_FACTS = """
{"mailbox": 5}                       mailbox
{"is_inbound": true}                 mailbox
{"key": "1:k2"}                      key
{"key": ""}                          key
{"key": "2:k1"}                      key
{"recipients": []}                   recipients
{"recipients": ["x@acme.example"]}   recipients
{"recipients": ["x%e@acme.example", "y"]}    unknown
{"recipients": ["y", "y"]}           unknown
{"risk_level": "notice"}             findings
{"findings": ["first_contact"]}      findings
{"amounts": {"EUR": "100.01"}}       sum
{"amounts": {"USD": "1"}}            sum
{"amounts": {"": "0"}}               sum
{"unread_sums": ["5000 crowns"]}     sum
{"attachments": ["pdf"]}             attachments
{"is_agents_alone": false}           origin
{"tries": 2}                         tries
{"is_edited": true}                  origin
{"lists_of": []}                     recipients
{"lists_of": [[7]]}                  recipients
{"lists_of": [[7], [9]]}             recipients
{"hosts": ["evil.example"]}          links
{"hosts": ["tel:"]}                  links
"""
ALWAYS_KNOWN = ("unread_sums", "is_inbound", "is_edited")


def misfits(facts=FACTS, leaves_at=NOON, against=(), *, of=ONE, is_asked=False):
    return of.misfits(facts, leaves_at, against, is_asked=is_asked)


def test_pass_sends_only_what_it_says_and_nothing_in_doubt():
    assert misfits() == ()
    for others, reason in rows(OTHER_FACTS):
        assert misfits(facts_with(others)) == (reason,), others
    for one in fields(FACTS):
        if one.name not in ALWAYS_KNOWN:
            assert Misfit.UNKNOWN in misfits(replace(FACTS, **{one.name: None}))
    assert misfits(leaves_at=None) == (Misfit.UNKNOWN,)
    assert misfits(leaves_at=ONE.ends_at) == (Misfit.ENDED,)
    assert misfits(against=[*Misfit]) == tuple(sorted(Misfit))
    plain = pass_with('{"most": null, "currency": "", "link_domains": []}')
    assert misfits(of=plain) == (Misfit.SUM, Misfit.LINKS)


# What of a pass is changed, and whether two people have to sign it again.
CHANGES = """
{}                                    no
{"a_day": 19, "ends_at": "2026-11-20T12:00:00Z"}    no
{"id": "b"}                           yes
{"a_day": 21}                         yes
{"ends_at": "2026-12-20T12:01:00Z"}   yes
{"most": "99"}                        yes
"""


def test_only_an_earlier_end_fewer_a_day_off_or_gone_does_not_loosen():
    for change, loosens in rows(CHANGES):
        after = [pass_with(change)]
        assert passes_loosen([ONE], after) is (loosens == "yes"), change
    assert not passes_loosen([ONE], [])


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

RULE = json.loads('{"id": "a1", "name": "Payments", "then": {"care": true}}')
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


MANY_WORDS = json.dumps({"when": {"words": [*map(str, range(100, 201))]}})


def test_what_no_rule_or_pass_can_be_is_refused():
    for name, change in [*rows(NO_RULES), ("rule", MANY_WORDS)]:
        kind, stored = {"rule": (PolicyRule, RULE), "pass": (Pass, STORED)}[name]
        assert parts_from_json(kind, [stored])[0].as_json() == stored
        # Nor are there two with one id.
        for refused in ([stored | json.loads(change)], [stored, stored]):
            with pytest.raises(RuleError):
                pytest.fail(f"{change}: {parts_from_json(kind, refused)}")
