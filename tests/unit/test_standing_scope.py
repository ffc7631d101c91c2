"""Which messages a standing approval admits: never one that its sentence does not say,
and none in doubt.
"""

from dataclasses import fields, replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.rules.conditions import Amount, MessageFacts
from policy.standing import Draft, StandingScope, sentence

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
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
    NOON,
    mailbox=4,
    key="1:k1",
    recipients=("x@acme.example",),
    origins=frozenset({"agent"}),
)
DRAFT = Draft("a" * 32)

addresses = st.sampled_from(
    [
        "x@acme.example",
        "dana@northwind.example",
        "eve@northwind.example",
        "x@sub.acme.example",
        "x%e@acme.example",
        "?",
    ]
)
amounts = st.builds(
    Amount, st.integers(0, 200).map(Decimal), st.sampled_from(["", "EUR", "USD"])
)
unknown = st.none()
facts = st.builds(
    MessageFacts,
    connection=st.integers(1, 2),
    now=st.just(NOON),
    mailbox=unknown | st.sampled_from([4, 5]),
    is_inbound=st.booleans(),
    key=st.sampled_from([None, "", "1:k1", "2:k1", "1:k2"]),
    recipients=unknown | st.lists(addresses, max_size=3).map(tuple),
    is_first_contact=st.sampled_from([None, True, False]),
    risk_level=st.sampled_from([None, "", "notice", "high"]),
    findings=unknown
    | st.frozensets(st.sampled_from(["looks_different", "first_contact"]), max_size=1),
    own_words=unknown | st.frozensets(st.just("tulip"), max_size=1),
    amounts=unknown | st.lists(amounts, max_size=2).map(tuple),
    attachments=unknown | st.frozensets(st.just("pdf"), max_size=1),
    origins=st.frozensets(st.sampled_from(["agent", "discord", "edit"]), max_size=2),
    tries=st.sampled_from([None, 1, 2]),
)
drafts = st.builds(
    Draft,
    shape=st.sampled_from(["a" * 32, "b" * 32, ""]),
    sender_name=st.sampled_from(["", "The bank"]),
    reply_to=st.sampled_from(["", "x@acme.example"]),
    is_sandbox=st.booleans(),
    is_scheduled=st.booleans(),
    is_apart=st.booleans(),
    is_followed=st.booleans(),
)
# Mostly like what is admitted, so that many examples come near.
near_facts = st.builds(
    lambda one, names: replace(FACTS, **{name: getattr(one, name) for name in names}),
    facts,
    st.sets(st.sampled_from([one.name for one in fields(MessageFacts)]), max_size=3),
)
near_drafts = st.just(DRAFT) | drafts


@given(near_facts, near_drafts)
def test_what_is_admitted_is_what_the_sentence_says(one, draft):
    if SCOPE.misfits(one, draft):
        return
    assert one.connection == 1
    assert one.mailbox == 4
    assert one.key == "1:k1"
    assert one.is_inbound is False
    assert one.recipients
    assert set(one.recipients) <= {"x@acme.example", "dana@northwind.example"}
    assert one.findings == set()
    assert one.risk_level == ""
    assert one.own_words == set()
    assert one.attachments == set()
    assert all(
        each.value <= {"": 20, "EUR": 100}[each.currency] for each in one.amounts
    )
    assert one.is_first_contact is False
    assert one.origins == {"agent"}
    assert one.tries == 1
    assert draft == DRAFT


def test_one_thing_that_differs_or_is_not_known_keeps_a_message_out():
    differs = {
        "connection": 2, "mailbox": 5, "is_inbound": True, "key": "1:k2", "recipients": ("eve@northwind.example",),
        "is_first_contact": True, "risk_level": "notice", "findings": {"first_contact"}, "own_words": {"tulip"},
        "amounts": (Amount(Decimal(101), "EUR"),), "attachments": {"pdf"}, "origins": {"agent", "edit"}, "tries": 2,
    }  # fmt: skip
    for name, value in differs.items():
        assert SCOPE.misfits(replace(FACTS, **{name: value}), DRAFT), name
        if name not in ("connection", "is_inbound"):
            assert SCOPE.misfits(replace(FACTS, **{name: None}), DRAFT), name
    for one in fields(Draft):
        assert SCOPE.misfits(
            FACTS,
            replace(
                DRAFT, **{one.name: "other" if isinstance(one.default, str) else True}
            ),
        ), one


@given(
    near_facts,
    near_drafts,
    st.lists(st.sampled_from(SCOPE.recipients)),
    st.integers(0, 200),
)
def test_a_narrower_scope_never_admits_more(one, draft, recipients, most):
    narrower = replace(
        SCOPE,
        recipients=tuple(recipients),
        sums=tuple(
            (currency, min(value, Decimal(most))) for currency, value in SCOPE.sums
        ),
    )
    assert narrower.misfits(one, draft) or not SCOPE.misfits(one, draft)


def test_usual_message_is_admitted_and_the_scope_is_stored_whole():
    assert SCOPE.misfits(FACTS, DRAFT) == ()
    assert StandingScope.from_json(SCOPE.as_json()) == SCOPE
    with pytest.raises(ValueError, match="cannot be read"):
        StandingScope.from_json({**SCOPE.as_json(), "sums": ["x"]})


def test_sentence_names_every_bound():
    said = sentence(
        SCOPE,
        key="Refund bot",
        mailbox="support@yourteam.example",
        subject="Your refund",
    )
    for part in (
        "Refund bot",
        "anybody at acme.example or dana@northwind.example",
        "100 EUR",
        "no attachment",
    ):
        assert part in said
