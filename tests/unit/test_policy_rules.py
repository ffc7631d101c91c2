"""Rules of the policy: what they are stored as, when they apply, and the laws of
merging and counting.
"""

from dataclasses import replace
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
from policy.rules.conditions import (
    Amount,
    Conditions,
    MessageFacts,
    Names,
    entries_of,
    from_json,
    words_key,
)
from policy.rules.demand import (
    Demand,
    Requirement,
    progress,
)
from policy.rules.facts import facts_of
from policy.rules.problems import Staff, problems
from policy.rules.rules import (
    Effects,
    PolicyRule,
    RuleError,
    approvals_in_words,
    is_as_strict,
    merged,
    parts_from_json,
)

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FACTS = MessageFacts(1, mailbox=4, key="1:k1", recipients=("dana@tax.example.gov",))

groups = st.integers(1, 4)
effects = st.builds(
    Effects,
    approvals=st.dictionaries(st.integers(0, 4), st.integers(1, 4), max_size=3),
    barred_groups=st.frozensets(groups, max_size=2),
    bar_editor=st.booleans(),
    care=st.booleans(),
    expire_minutes=st.none() | st.integers(1, 100),
    office_hours=st.frozensets(st.integers(7, 8)),
    sentences=st.frozensets(st.sampled_from("ab")),
)
people = st.frozensets(st.integers(1, 6), max_size=6)
members = st.dictionaries(groups, people)


@given(st.lists(effects, max_size=4), effects, st.randoms())
def test_merging_rules_takes_the_strictest_of_each_in_any_order(some, one, random):
    shuffled = list(some)
    random.shuffle(shuffled)
    assert merged(shuffled) == merged(some)
    assert merged([merged(some), one]) == merged([*some, one])
    assert merged([*some, *some]) == merged(some)
    assert all(is_as_strict(merged([*some, one]), each) for each in (*some, one))


def test_what_the_strictest_asks_is_asked_whatever_the_others_do():
    strict = Effects({1: 2}, frozenset({1}), True, True, "No.", 5, frozenset({7}))
    assert merged([Effects({1: 1}, expire_minutes=9), strict, Effects()]) == strict


@given(effects, members)
def test_whoever_helps_in_turn_completes_it_wherever_all_together_can(asked, groups_of):
    everybody = range(1, 7)
    givers = set()
    for one in [*everybody] * 6:
        before = progress(asked, givers, groups_of)
        if progress(asked, {*givers, one}, groups_of).given > before.given:
            givers.add(one)
    assert (
        progress(asked, givers, groups_of).is_complete
        == progress(asked, everybody, groups_of).is_complete
    )


def test_one_person_in_two_groups_counts_for_one_of_them():
    asked = Effects({1: 1, 2: 1})
    assert str(progress(asked, [5], {1: [5], 2: [5]})) == "1 of 2"
    assert progress(asked, [5, 6], {1: [5], 2: [5, 6]}).is_complete
    assert not progress(asked, [5, 6], {1: [5, 6]}).is_complete


KNOWN = frozenset({"1/4", "1/5", "1:k1", "1:k2"})


@pytest.mark.parametrize(
    ("facts", "of_mailbox", "of_key"),
    [
        ({}, True, True),
        ({"mailbox": 5, "key": "1:k2"}, False, False),
        ({"mailbox": 6, "key": "1:k3"}, True, True),
        ({"connection": 11, "mailbox": 9, "key": "11:k3"}, False, False),
        ({"mailbox": 6, "key": ""}, True, False),
    ],
)
def test_rule_on_mailboxes_or_keys_takes_in_those_added_to_their_connection_later(
    facts, of_mailbox, of_key
):
    facts = replace(FACTS, **facts)
    box = Conditions(mailboxes=frozenset({4}), known=KNOWN)
    key = Conditions(keys=frozenset({"1:k1"}), known=KNOWN)
    assert box.apply_to(facts) is of_mailbox
    assert key.apply_to(facts) is of_key


@pytest.mark.parametrize(
    ("when", "facts"),
    [
        ({"mailboxes": [4]}, {"mailbox": None}),
        ({"keys": ["1:k1"]}, {"key": None}),
        ({"recipients": ["*.gov"]}, {"recipients": ("somebody in Bcc (not visible with this key)",)}),
        ({"recipients": ["*.gov"]}, {"recipients": ("Jörg ‹jörg@agency.gov>",)}),
        ({"recipients_except": ["tax.example.gov"]}, {"recipients": None}),
        ({"recipients_from": 3}, {"recipients": ("somebody in Cc",)}),
        ({"lists": [9]}, {"lists": None}),
        ({"first_contact": True}, {"is_first_contact": None}),
        ({"high_risk": True}, {"risk_level": None}),
        ({"findings": ["secret_in_body"]}, {"findings": None}),
        ({"words": ["invoice"]}, {"lacked_words": frozenset()}),
        ({"amount": "1000", "currency": "EUR"}, {"amounts": None}),
        ({"amount": "1000", "currency": "EUR"}, {"amounts": (Amount(Decimal(2000)),)}),
        ({"attachments": ["pdf"]}, {"attachments": None}),
        ({"has_link": True}, {"hosts": None}),
        ({"links_except": ["acme.example"]}, {"hosts": None}),
        ({"lists_except": [9], "contacts_count": True}, {"contacts": None, "lists_of": (frozenset(),)}),
        ({"lists_except": [9]}, {"lists_of": None}),
        ({"metadata": "tier=gold"}, {"metadata": frozenset({"team=gold"})}),
        ({"tries_from": 2}, {"tries": None}),
    ],
)  # fmt: skip
def test_what_the_desk_does_not_know_makes_a_condition_hold(when, facts):
    conditions = from_json(Conditions, when)
    assert conditions.apply_to(replace(FACTS, **facts))
    calm = replace(
        FACTS,
        mailbox=5,
        key="1:k2",
        recipients=("dana@tax.example.gov",) * ("recipients" not in when),
        lists_of=(frozenset({9}),) * ("recipients" not in when),
        lacked_words=frozenset({words_key({"invoice"})}),
        metadata=frozenset({"tier=tin"}),
    )
    assert not conditions.apply_to(calm)


@pytest.mark.parametrize(
    ("metadata", "holds"),
    [
        ({"tier": "gold", "n": 2}, True),
        ({"tier": "tin"}, False),
        ({"tier": "gold="}, False),
        ({"tiers": "gold"}, True),
        ({}, True),
        ({**{str(n): 1 for n in range(50)}, "tier": "tin"}, True),
    ],
)
def test_metadata_has_this_value_or_lacks_the_name(metadata, holds):
    tier = Conditions(metadata="tier=gold")
    message = Message(connection=Connection(), trigger={"test": False, **metadata})
    review = Review(rules=[], policy_facts={})
    assert tier.apply_to(facts_of(message, review)) is holds
    for value in ("true", "false"):
        is_test = Conditions(metadata=f"test={value}")
        assert is_test.apply_to(facts_of(message, review)) is (value == "false")
    message.direction = "inbound"
    assert not tier.apply_to(facts_of(message, review))


def test_a_key_that_nobody_reports_may_be_any_and_is_none_for_certain():
    of_key = Conditions(keys=frozenset({"1:k1"}))
    unknown = replace(FACTS, key=None)
    assert of_key.apply_to(unknown)
    assert not of_key.certainly_apply_to(unknown)
    assert of_key.certainly_apply_to(FACTS)
    assert not of_key.apply_to(replace(unknown, connection=2))


def test_conditions_hold_together_and_one_of_several_values_is_enough():
    when = from_json(
        Conditions,
        {
            "recipients": ["example.org", "*.gov"],
            "amount": "500",
            "attachments": ["pdf", "zip"],
        },
    )
    facts = replace(
        FACTS,
        amounts=(Amount(Decimal(500), "USD"),),
        attachments=frozenset({"document", "pdf"}),
    )
    assert when.apply_to(facts)
    assert not when.apply_to(replace(facts, amounts=(Amount(Decimal(499), "USD"),)))
    assert not when.apply_to(replace(facts, recipients=("dana@gov.example",)))


@pytest.mark.parametrize(
    ("entry", "recipient"),
    [
        ("boss@x.example", "boss+tag@x.example"),
        ("boss@x.example", "boss+@x.example"),
        ("boss@gmail.com", "b.o.ss+1@googlemail.com"),
    ],
)
def test_a_rule_on_a_person_holds_for_each_address_of_their_mailbox(entry, recipient):
    facts = replace(FACTS, recipients=(recipient,))
    assert from_json(Conditions, {"recipients": [entry]}).apply_to(facts)
    assert entry in entries_of(recipient)
    # Whom a rule leaves out is only who is named.
    assert from_json(Conditions, {"recipients_except": [entry]}).apply_to(facts)
    # Nor does an allowlist, which lets mail out, become wider.
    assert entry not in patterns_for(recipient)


def test_rule_names_at_most_100_words_that_can_be_looked_for():
    for words, why in (
        (map(str, range(100, 201)), "at most 100 words"),
        (["(a+)+$"], "cannot be searched"),
        (["*"], "nearly every message"),
    ):
        when = Conditions(words=frozenset(words))
        with pytest.raises(RuleError, match=why):
            PolicyRule("a", "A", when=when, then=Effects(reject="No.")).checked()


XMAS = {
    7: Calendar(
        "Office",
        ZoneInfo("Europe/Berlin"),
        (((540, 1020),),) * 7,
        {date(2026, 11, 20): "Holiday"},
    )
}
BY_CALENDAR = 7


@pytest.mark.parametrize("days", [0, 1])
def test_a_rule_goes_by_the_hours_of_a_calendar_and_by_its_holidays(days):
    sentence = told_of_hours([BY_CALENDAR], XMAS, at=NOON + timedelta(days=days))
    assert ("next Sat 21 Nov at 08:00 UTC" in sentence) is (days == 0)


def test_hours_of_a_calendar_that_is_gone_hold_the_message():
    assert "These hours never come" in told_of_hours([BY_CALENDAR], {}, at=NOON)


def told_of_hours(keys, calendars, *, at):
    """What a demand says of the hours of these calendars."""
    effects = from_json(Effects, {"office_hours": keys})
    demand = Demand(Requirement(effects), leaves_at=at, calendars=calendars)
    return dict(demand.refusals()).get("hours", "")


def test_hours_of_two_calendars_come_when_both_are_open():
    days = (((540, 1020),),) * 7
    berlin = Calendar("Berlin", ZoneInfo("Europe/Berlin"), days)
    york = Calendar("York", ZoneInfo("America/New_York"), days)
    # Berlin has closed for the day, New York has not; in the morning it is the reverse.
    evening = datetime(2026, 11, 23, 17, 30, tzinfo=UTC)
    told = told_of_hours([1, 2], {1: berlin, 2: york}, at=evening)
    assert "next Tue 24 Nov at 14:00 UTC" in told
    tokyo = Calendar("Tokyo", ZoneInfo("Asia/Tokyo"), days)
    told = told_of_hours([1, 2], {1: tokyo, 2: york}, at=evening)
    assert "These hours never come" in told


RULE = {
    "id": "a1",
    "name": "Payments to the state",
    "when": {"recipients": ["*.gov"], "amount": "0"},
    "then": {
        "approvals": {"1": 2},
        "care": True,
        "office_hours": [7],
    },
}


def test_rule_is_stored_whole_and_reads_as_a_sentence():
    rule = PolicyRule.from_json(RULE)
    assert PolicyRule.from_json(rule.as_json()) == rule
    office = Names(groups={1: "Finance"}, calendars={7: "Office"})
    assert rule.sentence(office) == (
        "When a message goes to *.gov and names any amount, then 2 approvals of Finance are needed, it is approved "
        "with care (after signing in again, on a page of its own, never in bulk) and it is approved and sent only "
        "within the hours of Office."
    )
    finance = Names(groups={1: "Finance"})
    several = approvals_in_words({0: 3, 1: 1}, finance)
    assert several == "3 approvals of any reviewer with 1 of Finance among them"
    assert approvals_in_words({0: 1, 1: 1}, finance) == "1 approval of Finance"
    gold = PolicyRule("a", "A", when=Conditions(metadata="tier=gold"))
    assert gold.sentence(finance) == (
        "When a message has the metadata tier=gold, or does not say, then one approval is needed."
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"approve": True},
        {"then": {"approvals": {"1": 0}}},
        {"then": {"approvals": {"1": 2}, "skip": True}},
        {"when": {"amount": "NaN"}},
        {"when": {"currency": "EUR"}},
    ],
)
def test_a_rule_with_an_unknown_field_or_an_impossible_value_is_refused_with_a_sentence(
    wrong,
):
    with pytest.raises(RuleError, match=r"\w.*\."):
        PolicyRule.from_json({**RULE, **wrong})


def test_two_rules_of_one_id_are_refused():
    with pytest.raises(RuleError, match="same id"):
        parts_from_json(PolicyRule, [RULE, RULE])


STAFF = Staff(
    reviewers={4: frozenset({1, 2, 3}), 5: frozenset({1})},
    groups={1: frozenset({1, 2}), 2: frozenset({1, 2}), 3: frozenset({1, 2})},
    # Each two of these are open together on one day, and no day is in all.
    calendars={
        key: Calendar(
            "",
            ZoneInfo("UTC"),
            tuple(((540, 600),) if day in open_days else () for day in range(7)),
        )
        for key, open_days in enumerate(((0, 1), (1, 2), (0, 2)))
    },
    names=Names(
        groups={1: "Finance", 2: "Sales", 3: "Legal"},
        mailboxes={4: "a@x.example", 5: "b@x.example"},
        calendars={0: "Office", 1: "Night", 2: "Shift"},
    ),
)


def rule_asking(number, when=None, **then):
    return replace(PolicyRule.from_json({**RULE, "id": f"r{number}", "name": f"Rule {number}"}),
                   when=from_json(Conditions, when or {}), then=from_json(Effects, then))  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "sentences"),
    [
        ([rule_asking(1, {"mailboxes": [4]}, approvals={"1": 2})], []),
        (
            [rule_asking(1, office_hours=[BY_CALENDAR])],
            [
                "Nobody can meet “Rule 1” in a@x.example and b@x.example",
            ],
        ),
        (
            [rule_asking(1, approvals={"1": 2})],
            [
                "Nobody can meet “Rule 1” in b@x.example: 2 approvals of Finance are needed"
            ],
        ),
        (
            [rule_asking(1, {"mailboxes": [4]}, approvals={"9": 1})],
            ["Nobody can meet “Rule 1”"],
        ),
        (
            [
                rule_asking(1, {"mailboxes": [4]}, approvals={"1": 1}),
                rule_asking(2, {"mailboxes": [4]}, barred_groups=[2]),
            ],
            ["“Rule 1” and “Rule 2” in a@x.example"],
        ),
        (
            # Each two of them are satisfied by two of the three people; all three by
            # nobody, as one counts once.
            [
                rule_asking(1, {"mailboxes": [4]}, approvals={"1": 1}),
                rule_asking(2, {"mailboxes": [4]}, approvals={"2": 1}),
                rule_asking(3, {"mailboxes": [4]}, approvals={"3": 1}),
            ],
            ["“Rule 1”, “Rule 2” and “Rule 3” in a@x.example"],
        ),
        (
            [rule_asking(key, office_hours=[key]) for key in range(3)],
            ["only within the hours of Shift"],
        ),
    ],
)
def test_rules_that_nobody_can_satisfy_or_that_name_who_left_are_told(rules, sentences):
    found = [one.sentence for one in problems(rules, STAFF)]
    assert len(found) == len(sentences)
    assert all(part in one for part, one in zip(sentences, found, strict=True))
