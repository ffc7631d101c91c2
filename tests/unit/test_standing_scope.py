"""Which messages a standing approval admits: never one that its sentence does not say,
and none in doubt.
"""

from dataclasses import fields, replace
from decimal import Decimal

import pytest

from policy.rules.conditions import Amount, MessageFacts
from policy.standing import Draft, StandingScope

SCOPE = StandingScope(
    1,
    4,
    "k1",
    "a" * 32,
    ("acme.example", "dana@northwind.example"),
    (("", Decimal(20)), ("EUR", Decimal(100))),
)
FACTS = MessageFacts(
    1,
    mailbox=4,
    key="1:k1",
    recipients=("x@acme.example",),
    origins=frozenset({"agent"}),
)
DRAFT = Draft("a" * 32)


def test_one_thing_that_differs_or_is_not_known_keeps_a_message_out():
    differs = {
        "connection": 2, "mailbox": 5, "is_inbound": True, "key": "1:k2", "recipients": ("eve@northwind.example",),
        "is_first_contact": True, "risk_level": "notice", "findings": {"first_contact"},
        "amounts": (Amount(Decimal(101), "EUR"),), "attachments": {"pdf"}, "origins": {"agent", "edit"}, "tries": 2,
    }  # fmt: skip
    for name, value in differs.items():
        assert SCOPE.misfits(replace(FACTS, **{name: value}), DRAFT), name
        if name not in ("connection", "is_inbound", "is_first_contact"):
            assert SCOPE.misfits(replace(FACTS, **{name: None}), DRAFT), name
    for recipients in (
        (),
        ("x@acme.example", "x@sub.acme.example"),
        ("x%e@acme.example",),
    ):
        assert SCOPE.misfits(replace(FACTS, recipients=recipients), DRAFT), recipients
    for one in fields(Draft):
        assert SCOPE.misfits(
            FACTS,
            replace(
                DRAFT, **{one.name: "other" if isinstance(one.default, str) else True}
            ),
        ), one


def test_usual_message_is_admitted_and_the_scope_is_stored_whole():
    assert SCOPE.misfits(FACTS, DRAFT) == ()
    assert StandingScope.from_json(SCOPE.as_json()) == SCOPE
    with pytest.raises(ValueError, match="cannot be read"):
        StandingScope.from_json({**SCOPE.as_json(), "sums": ["x"]})
