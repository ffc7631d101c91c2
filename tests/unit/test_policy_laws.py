"""Laws of the policy: no rule that is added, and no fact that is not known, lowers what a
message needs; no pass counts where a rule asks for anything; it leaves within all hours
that are asked; and approvals count in any order.
"""

import json
from collections import Counter
from dataclasses import asdict, fields, replace
from datetime import date, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from policy.calendars import Calendar, is_open
from policy.rules.conditions import KINDS, Conditions, MessageFacts
from policy.rules.demand import Approval, People, Policy, evaluate, progress
from policy.rules.rules import Effects, PolicyRule, merged, rules_loosen
from simple_form.data import rows
from tests.factories import nobody_else
from tests.unit.test_policy_rules import FACTS as FACTS_OF_PASS
from tests.unit.test_policy_rules import NOON, misfits

DAYS = (((540, 1020),),) * 7
# Together they are open for three hours a day, but on a holiday of one.
CALENDARS = {
    7: Calendar("Berlin", ZoneInfo("Europe/Berlin"), DAYS, {date(2026, 11, 20): "X"}),
    8: Calendar("York", ZoneInfo("America/New_York"), DAYS),
}
# Of a law; the main ones get more.
EXAMPLES = settings.default.max_examples
HIDDEN = "somebody in Bcc (not visible with this key)"


def some(values, least=0):
    return st.frozensets(st.sampled_from(values), min_size=least, max_size=2)


DRAWN = {
    "one": st.sampled_from,
    "up to two": some,
    "one or two": lambda values: some(values, least=1),
}


def drawn(table):
    """By name what a field may be: how many of which values."""
    return {name: DRAWN[many](json.loads(values)) for name, many, values in rows(table)}


FACTS = drawn("""
connection        one        [1, 2]
mailbox           one        [4, 5, 9]
is_inbound        one        [false, true]
earlier_keys      up to two  ["1:k1", "1:k2", "1:k9", "2:k1"]
lists             up to two  [7, 8]
contacts          up to two  ["dana@x.example", "bo@tax.gov"]
is_first_contact  one        [false, true]
risk_level        one        ["", "notice", "high"]
amounts           one        [{}, {"EUR": "5"}, {"EUR": "500"}, {"USD": "500", "": "5"}, {"": "500"}]
findings          up to two  ["secret_in_body", "attachment_runs_code"]
in_part           up to two  ["findings", "risk_level", "is_first_contact"]
words             one        [{}, {"boo": ""}, {"other": ""}, {"boo": "", "other": ""}]
attachments       up to two  ["pdf", "program"]
hosts             up to two  ["acme.example", "www.acme.example", "evil.example"]
is_agents_alone   one        [false, true]
is_edited         one        [false, true]
metadata          up to two  ["tier=gold", "tier=tin", "team=a"]
tries             one        [1, 2, 3]
""")
# Those for which None is no value.
ALWAYS_KNOWN = set(
    """connection is_inbound earlier_keys is_edited sums unread_sums unknown_files
    is_agents_alone in_part""".split()
)
ADDRESSES = ["dana@x.example", "bo@tax.gov", "eve+1@x.example", "a%b@x.example"]
facts_known = st.builds(
    lambda people, values, key: MessageFacts(
        **values,
        # A key is one of the connection; received mail has none.
        key="" if values["is_inbound"] else f"{values['connection']}:{key}",
        recipients=tuple(one for one, _ in people),
        lists_of=tuple(lists for _, lists in people),
    ),
    st.lists(st.tuples(st.sampled_from(ADDRESSES), some([7, 8])), max_size=3),
    st.fixed_dictionaries(FACTS),
    st.sampled_from(["k1", "k2", "k9"]),
)


@st.composite
def less_known(draw, facts):
    """The same facts, of which one or several are not known."""
    names = [one.name for one in fields(facts) if one.name not in ALWAYS_KNOWN]
    some_names = st.sets(st.sampled_from(names), min_size=1, max_size=4)
    # What was not looked for, and a name that the sender may have left out.
    none = {"words": {}, "metadata": frozenset()}
    changed = {name: none.get(name) for name in draw(some_names | st.just(names))}
    if "recipients" in changed and facts.recipients and draw(st.booleans()):
        changed["recipients"] = (*facts.recipients[:-1], HIDDEN)
    return replace(facts, **changed)


facts_in_doubt = facts_known | facts_known.flatmap(less_known)
CONDITIONS = drawn("""
connections        one or two  [1, 2]
mailboxes          one or two  [4, 5]
keys               one or two  ["1:k1", "1:k2", "1:k9", "2:k1"]
metadata           one         ["tier=gold"]
tries_from         one         [1, 2, 3]
recipients         one or two  ["*.gov", "x.example", "eve@x.example"]
recipients_except  one or two  ["x.example", "eve@x.example"]
lists              one or two  [7, 8]
lists_except       one or two  [7, 8]
first_contact      one         [true]
recipients_from    one         [1, 2, 3]
high_risk          one         [true]
findings           one or two  ["secret_in_body", "attachment_runs_code"]
words              one or two  ["boo"]
attachments        one or two  ["pdf", "program"]
has_link           one         [true]
links_except       one or two  ["acme.example", "*.acme.example"]
""")
CONDITIONS["amount"] = st.sampled_from([Decimal(0), Decimal(100)])


def two_of(strategies):
    """Values of two of these at most: more conditions hardly ever hold together."""
    names = st.lists(st.sampled_from(list(strategies)), max_size=2, unique=True)
    return names.flatmap(
        lambda drawn: st.fixed_dictionaries({one: strategies[one] for one in drawn})
    )


whens = st.builds(
    lambda values, **more: Conditions(**values, **more),
    two_of(CONDITIONS),
    known=some(["1/4", "1/5", "1:k1", "2:k1"]),
    only_these=st.booleans(),
    contacts_count=st.booleans(),
    currency=st.sampled_from(["", "EUR"]),
)
EFFECTS = drawn("""
barred_groups   one or two  [1, 2, 3]
bar_editor      one         [true]
care            one         [true]
reject          one         ["No."]
expire_minutes  one         [1, 10, 60, 100]
office_hours    one or two  [7, 8, 9]
sentences       one or two  ["Call them."]
""")
EFFECTS["approvals"] = st.dictionaries(st.integers(0, 3), st.integers(1, 3), max_size=2)
thens = two_of(EFFECTS).map(lambda values: Effects(**values))
rules = st.builds(
    lambda number, when, then: PolicyRule(f"r{number}", "A rule", when=when, then=then),
    st.integers(0, 9),
    st.just(Conditions()) | whens,
    thens,
)
persons = st.integers(1, 6)
approvals = st.lists(
    st.builds(Approval, persons, name=st.just("A"), with_care=st.booleans()),
    max_size=4,
    unique_by=lambda one: one.person,
)
people = st.builds(
    People,
    identities=st.builds(nobody_else),
    person=persons,
    approvals=approvals.map(tuple),
    editors=st.frozensets(persons, max_size=1),
    authors=st.frozensets(persons, max_size=1),
    reviewers=st.just(frozenset(range(1, 6))),
    groups=st.dictionaries(st.integers(1, 3), st.frozensets(persons, max_size=4)),
)
leaving = st.integers(0, 30).map(lambda hours: NOON + timedelta(hours=hours))


def demand(rules, facts, leaves_at, of):
    policy = Policy(1, tuple(rules))
    return evaluate(policy, facts, leaves_at, of, calendars=CALENDARS, is_decided=True)


def asked(demand):
    """What is asked, as values that only grow where more is asked; also of the people
    in particular.
    """
    effects = demand.effects
    return asdict(effects) | {
        "approvals": effects.total,
        "of groups": Counter(effects.named_groups),
        "reject": bool(effects.reject),
        "expire_minutes": -(effects.expire_minutes or 10**6),
        "closed": bool(demand.closed()),
        "barred": demand.barred,
        "counted": frozenset(demand.people.approvals) - {*demand.counted},
        "missing": sum(demand.progress.missing.values()),
        "refused": bool(demand.refusals()),
        "rules": frozenset(map(str, demand.spoke)),
    }


def lowered(before, after):
    """What is asked less after than before."""
    now = asked(after)
    return [name for name, value in asked(before).items() if not value <= now[name]]


def test_the_laws_are_tried_with_every_condition_and_every_fact():
    assert CONDITIONS.keys() == KINDS.keys()
    effects = EFFECTS.keys() | {"least_mode"}
    assert effects == {one.name for one in fields(Effects)}
    named = FACTS.keys() | {"key", "recipients", "lists_of"} | ALWAYS_KNOWN
    assert named == {one.name for one in fields(MessageFacts)}


@settings(max_examples=5 * EXAMPLES)
@given(st.lists(rules, max_size=3), rules, facts_in_doubt, leaving, people)
def test_a_rule_that_is_added_never_lowers_what_a_message_needs(
    given_rules, added, facts, leaves_at, of
):
    before = demand(given_rules, facts, leaves_at, of)
    hours = [*map(CALENDARS.get, before.effects.office_hours)]
    leaves = all(one and is_open(one, leaves_at) for one in hours)
    assert ("hours" in dict(before.refusals())) is not leaves
    for at in range(len(given_rules) + 1):
        longer = [*given_rules[:at], added, *given_rules[at:]]
        assert lowered(before, demand(longer, facts, leaves_at, of)) == []


@pytest.mark.parametrize("name", CONDITIONS)
@given(whens, facts_known, st.data())
def test_a_rule_that_applies_also_applies_where_less_is_known(name, when, facts, data):
    when = replace(when, **{name: data.draw(CONDITIONS[name])})
    if when.apply_to(facts):
        assert when.apply_to(data.draw(less_known(facts)))


@st.composite
def edited(draw, before):
    """Rules that somebody edited: some of them are gone, moved, or say something else."""
    after = []
    for rule in draw(st.permutations(before)):
        other = draw(rules)
        changes = [
            {},
            {"then": merged([rule.then, other.then])},
            {"when": Conditions()},
            {"then": other.then},
            {"when": other.when},
        ]
        after.append(replace(rule, **draw(st.sampled_from(changes))))
    return [*after, *draw(st.lists(rules, max_size=1))]


@settings(max_examples=10 * EXAMPLES)
@given(st.lists(rules, min_size=1, max_size=2), st.data(), facts_in_doubt, people)
def test_what_one_admin_may_activate_alone_never_lowers_what_a_message_needs(
    given_rules, data, facts, of
):
    after = data.draw(edited(given_rules))
    if not rules_loosen(given_rules, after):
        before = demand(given_rules, facts, NOON, of)
        assert set(lowered(before, demand(after, facts, NOON, of))) <= {"rules"}


@given(st.lists(rules, max_size=3), st.lists(rules, max_size=3))
def test_the_same_rules_and_further_ones_do_not_loosen(given_rules, more):
    assert not rules_loosen(given_rules, [*more, *given_rules])


@given(st.lists(rules, max_size=3), people)
def test_no_pass_counts_beside_a_rule_that_asks_for_anything(given_rules, of):
    # Whoever edited it is barred from what was edited only.
    asking = [
        replace(one, then=replace(one.then, bar_editor=False)) for one in given_rules
    ]
    assume(
        any(
            one.when.apply_to(FACTS_OF_PASS) and not one.then.is_empty for one in asking
        )
    )
    spoke = demand(given_rules, FACTS_OF_PASS, NOON, of).spoke
    assert misfits(is_asked=bool(spoke))


@given(
    st.dictionaries(st.integers(0, 4), st.integers(1, 4), max_size=3).map(Effects),
    st.dictionaries(st.integers(1, 4), st.frozensets(persons)),
)
def test_whoever_helps_in_turn_completes_it_wherever_all_together_can(asked, members):
    everybody = range(1, 7)

    def given_by(*people):
        return progress(asked, people, members).given

    givers = []
    for one in [*everybody] * 6:
        if given_by(*givers, one) > given_by(*givers):
            givers.append(one)
    assert given_by(*givers) == given_by(*everybody)
