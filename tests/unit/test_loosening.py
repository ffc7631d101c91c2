"""What counts as loosening: of an allowlist by laws against the judgement, of modes and
settings by tables.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirror.oversight_modes import NAMES, is_below, is_minimum_lower
from policy.allowlists.judgement import ApplicableList, Entry, judge, loosens
from policy.rules.conditions import Conditions
from policy.rules.effects import Effects, is_as_strict, merged
from policy.rules.rules import PolicyRule, rules_loosen

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
MODES = ("off", "monitor", "contacts", "enforce")
ADDRESSES = ("ann@x.example", "ben@x.example", "ann@y.example")
PATTERNS = (*ADDRESSES[:2], "x.example", "y.example")
CONTACTS = {"ben@x.example"}
ENDS = st.sampled_from(
    [None, NOW - timedelta(days=1), NOW + timedelta(days=1), NOW + timedelta(days=9)]
)
ENTRIES = st.dictionaries(st.sampled_from(PATTERNS), ENDS, max_size=4)


def allowed(lists, at):
    """Return whom these restrictions let mail go to."""
    rows = []
    for key, (mode, entries) in enumerate(lists):
        there = {one: Entry(one, ends) for one, ends in entries.items()}
        rows.append(ApplicableList(str(key), mode, there))
    judged = judge(ADDRESSES, rows, CONTACTS, at)
    return set(ADDRESSES) - set(judged.refused)


def is_looser(kind, mode, mode_after, entries=(), put=(), **facts):
    """Whether a change of the mode that puts these entries there loosens the list."""
    return loosens(
        kind=kind,
        mode_before=mode,
        mode_after=mode_after,
        before={one: entries[one] for one in put if one in entries},
        put=dict(put).items(),
        **{"has_live_entries": True, "is_alone": True, **facts},
    )


def changed(entries, put, removed):
    return {
        one: ends
        for one, ends in {**entries, **put}.items()
        if one not in removed or one in put
    }


SOON = NOW + timedelta(days=1)
LATER = NOW + timedelta(days=9)


# Each is called looser for one reason alone.
@example(
    "enforce", {"x.example": SOON}, "enforce", {"x.example": LATER}, set(), None, 3
)
@example("enforce", {}, "enforce", {"x.example": LATER}, set(), None, 3)
@example("enforce", {}, "monitor", {}, set(), None, 0)
@example("off", {"x.example": None}, "monitor", {}, set(), ("enforce", {}), 0)
@given(
    mode=st.sampled_from(MODES),
    entries=ENTRIES,
    mode_after=st.sampled_from(MODES),
    put=ENTRIES,
    removed=st.sets(st.sampled_from(PATTERNS)),
    other=st.none() | st.tuples(st.sampled_from(MODES), ENTRIES),
    days=st.integers(0, 12),
)
def test_change_that_does_not_loosen_a_restriction_lets_nobody_else_be_written_to(
    mode, entries, mode_after, put, removed, other, days
):
    after = changed(entries, put, removed)
    at = NOW + timedelta(days=days)
    is_alone = other is None or other[0] == "off"
    live = any(ends is None or ends > NOW for ends in entries.values())
    facts = {"has_live_entries": live, "is_alone": is_alone}
    beside = [other] if other else []
    if not is_looser("restriction", mode, mode_after, entries, put, **facts):
        assert allowed([(mode_after, after), *beside], at) <= allowed(
            [(mode, entries), *beside], at
        )


@given(
    mode=st.sampled_from(("off", "monitor", "enforce")),
    entries=ENTRIES,
    mode_after=st.sampled_from(("off", "monitor", "enforce")),
    put=ENTRIES,
    removed=st.sets(st.sampled_from(PATTERNS)),
    days=st.integers(0, 12),
)
def test_change_that_does_not_loosen_a_bypass_lets_nothing_else_out_without_review(
    mode, entries, mode_after, put, removed, days
):
    at = NOW + timedelta(days=days)

    def out(state, rows):
        return {
            one
            for one, ends in rows.items()
            if state == "enforce" and (ends is None or ends > at)
        }

    if not is_looser("bypass", mode, mode_after, entries, put):
        assert out(mode_after, changed(entries, put, removed)) <= out(mode, entries)


def test_weaker_modes_loosen_a_restriction_and_stricter_ones_a_bypass():
    for before, after in product(MODES, MODES):
        assert is_looser("restriction", before, after, has_live_entries=False) == (
            MODES.index(after) < MODES.index(before)
        )
        assert is_looser("bypass", before, after) == (
            MODES.index(after) > MODES.index(before)
        )


def test_mailbox_below_the_minimum_and_lower_minimum():
    for mode, minimum in product(NAMES, NAMES):
        assert is_below(mode, per_call=False, minimum=minimum) == (
            NAMES.index(mode) > NAMES.index(minimum)
        )
        assert is_minimum_lower(mode, than=minimum) == (
            NAMES.index(mode) > NAMES.index(minimum)
        )
    assert is_below("gated_all", per_call=True, minimum="gated_send")
    assert not is_below("read_only", per_call=True, minimum="gated_send")
    assert is_below("later_mode", per_call=False, minimum="monitored")
    assert is_minimum_lower("", than="gated_send")


WHENS = (
    Conditions(),
    Conditions(risk="high"),
    Conditions(mailboxes=frozenset({3})),
    Conditions(amount=Decimal(5)),
)
THENS = st.builds(
    Effects,
    approvals=st.dictionaries(st.integers(0, 2), st.integers(1, 3), max_size=2),
    barred_groups=st.frozensets(st.integers(1, 3)),
    care=st.booleans(),
    reject=st.sampled_from(["", "Not us"]),
    expire_minutes=st.none() | st.integers(1, 3),
)
RULES = st.lists(
    st.builds(
        PolicyRule,
        id=st.just("a"),
        name=st.just("A"),
        owner=st.none(),
        note=st.just(""),
        is_on=st.booleans(),
        when=st.sampled_from(WHENS),
        then=THENS,
    ),
    max_size=4,
)
ONE = PolicyRule("a", "A", None, "", True, Conditions(risk="high"), Effects(care=True))


@given(
    before=RULES, after=RULES, true=st.lists(st.sampled_from(WHENS[1:]), unique_by=str)
)
def test_rules_that_do_not_loosen_ask_at_least_as_much_of_every_message(
    before, after, true
):
    """`true` are the conditions that hold for it."""
    if rules_loosen(before, after):
        return
    was, now = (
        merged(
            one.then
            for one in rules
            if one.is_on and (one.when.is_empty or one.when in true)
        )
        for rules in (before, after)
    )
    assert is_as_strict(now, was)


@given(rules=RULES, more=RULES)
def test_same_rules_and_further_ones_do_not_loosen(rules, more):
    assert not rules_loosen(rules, [*more, *rules])


def test_removing_switching_off_or_narrowing_a_rule_loosens():
    narrower = replace(ONE, when=Conditions(risk="high", mailboxes=frozenset({3})))
    assert [
        rules_loosen([ONE], after)
        for after in ([], [replace(ONE, is_on=False)], [narrower])
    ] == [True] * 3
    assert not rules_loosen([ONE], [replace(ONE, when=Conditions())])


@pytest.mark.parametrize(
    ("before", "after", "loosens"),
    [
        ({"rose"}, {"rose", "lily"}, False),
        ({"rose", "lily"}, {"rose"}, True),
        ({"rose"}, {"lily", "iris"}, True),
        (set(), {"rose"}, True),
        ({"rose"}, set(), True),
    ],
)
def test_rule_that_names_more_words_does_not_loosen(before, after, loosens):
    was, now = (
        replace(ONE, when=Conditions(risk="high", words=frozenset(words)))
        for words in (before, after)
    )
    assert rules_loosen([was], [now]) == loosens
