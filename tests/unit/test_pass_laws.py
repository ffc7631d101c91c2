"""Which messages a pass sends: never one that its sentence does not say, none in doubt,
and none to which a rule applies.
"""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.rules.conditions import Amount, Conditions, MessageFacts, Names
from policy.rules.demand import Policy, required
from policy.rules.rules import (
    Effects,
    Misfit,
    Pass,
    PolicyRule,
    RuleError,
    Sending,
    parts_from_json,
    passes_loosen,
)

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
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
SENDING = Sending(leaves_at=NOON)


def misfits(facts, sending=SENDING, *, of=ONE, is_asked=False):
    return of.misfits(facts, sending, is_asked=is_asked)


def sent(rules, facts, sending=SENDING):
    is_asked = bool(required(Policy(rules=tuple(rules)), facts).spoke)
    return not misfits(facts, sending, is_asked=is_asked)


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
OTHER_SENDING = {
    "leaves_at": [ONE.ends_at],
    "against": [frozenset({code}) for code in Misfit],
}


def test_what_its_sentence_says_fits_and_is_stored_whole():
    assert misfits(FACTS) == ()
    assert Pass.from_json(ONE.as_json()) == ONE
    names = Names(
        mailboxes={4: "support@x.example"},
        keys={"1:k1": "Bot"},
        lists={7: "A", 8: "B"},
    )
    assert ONE.sentence(names) == (
        "Messages of the API key Bot from support@x.example to recipients on the allowlist A or B, that name at "
        "most 100 EUR, have no finding, no attachment and links to *.acme.example or acme.example only, "
        "are sent without a person; at most 20 a day, until 2026-12-20 12:00 UTC."
    )
    plain = replace(ONE, most=None, currency="", link_domains=frozenset())
    assert "that name no sum, have no finding, no attachment and no links" in (
        plain.sentence(names)
    )
    assert misfits(FACTS, of=plain) == (Misfit.SUM, Misfit.LINKS)


def test_one_thing_that_differs_keeps_a_message_from_being_sent():
    for name, values in OTHER_FACTS.items():
        for value in values:
            assert misfits(replace(FACTS, **{name: value})), (name, value)
    for name, values in OTHER_SENDING.items():
        for value in values:
            assert misfits(FACTS, replace(SENDING, **{name: value})), (name, value)
    assert misfits(FACTS, is_asked=True) == (Misfit.RULE,)


def test_any_fact_that_is_not_known_is_a_misfit():
    for one in fields(FACTS):
        if one.name not in ("unread_sums", "is_inbound", "is_edited"):
            assert Misfit.UNKNOWN in misfits(replace(FACTS, **{one.name: None}))
    assert Misfit.UNKNOWN in misfits(FACTS, Sending())


RULES = st.builds(
    lambda number, when: PolicyRule(
        f"r{number}", "A rule", when=when, then=Effects(care=True)
    ),
    st.integers(0, 9),
    st.builds(
        Conditions,
        mailboxes=st.frozensets(st.integers(3, 5), max_size=1),
        recipients_from=st.none() | st.integers(1, 3),
        tries_from=st.none() | st.integers(1, 2),
        amount=st.none() | st.sampled_from([Decimal(0), Decimal(100), Decimal(200)]),
    ),
)
SOME_FACTS = st.builds(
    lambda changed: replace(FACTS, **changed),
    st.fixed_dictionaries(
        {},
        optional={
            name: st.sampled_from([*values, None])
            for name, values in OTHER_FACTS.items()
            if name not in ("unread_sums", "is_inbound", "is_edited")
        },
    ),
)


@given(rules=st.lists(RULES, max_size=4), more=RULES, facts=SOME_FACTS)
def test_adding_a_rule_never_makes_a_pass_send(rules, more, facts):
    before = sent(rules, facts)
    for at in range(len(rules) + 1):
        longer = [*rules[:at], more, *rules[at:]]
        after = sent(longer, facts)
        assert after <= before
        if more.when.apply_to(facts):
            assert not after


def test_only_an_earlier_end_fewer_a_day_off_or_gone_does_not_loosen():
    for fewer in (
        [],
        [ONE],
        [replace(ONE, a_day=19, ends_at=NOON)],
    ):
        assert not passes_loosen([ONE], fewer), fewer
    for more in (
        replace(ONE, id="other"),
        replace(ONE, a_day=21),
        replace(ONE, ends_at=ONE.ends_at + timedelta(minutes=1)),
        replace(ONE, name="Other"),
        replace(ONE, most=Decimal(99)),
        replace(ONE, when=replace(ONE.when, lists=frozenset({7}))),
    ):
        assert passes_loosen([ONE], [more]), more


def test_what_no_pass_can_be_is_refused():
    stored = ONE.as_json()
    for wrong in (
        {"id": "a-b"},
        {"a_day": 0},
        {"a_day": 1001},
        {"currency": ""},
        {"ends_at": "2026-12-20T12:00:00"},
        {"ends_at": "soon"},
        {"when": {"keys": ["1:k1"], "mailboxes": [4]}},
        {"when": {**stored["when"], "high_risk": True}},
        {"then": {}},
    ):
        with pytest.raises(RuleError):
            Pass.from_json({**stored, **wrong})
    with pytest.raises(RuleError, match="same id"):
        parts_from_json(Pass, [stored, stored])
