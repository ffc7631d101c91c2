"""What allowlists say: by a table shared with the gateway, and by laws."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from common.patterns import compared, read_pattern
from policy.allowlists.judgement import (
    AllowedBy,
    ApplicableList,
    Entry,
    judge,
    named,
    patterns_of,
)
from tests.allow_cases import CASES

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
MODES = ("off", "monitor", "contacts", "enforce")


def listed(mode, entries, *, key=1):
    """Return a list with these entries: pairs of a pattern and when it ends."""
    rows = {
        read_pattern(pattern): Entry(read_pattern(pattern), ends)
        for pattern, ends in entries
    }
    return ApplicableList(key, f"list {key}", mode, rows)


def test_table_shared_with_the_gateway():
    for name, case in CASES.items():
        ends = {
            one: NOW + timedelta(seconds=case.ends[one]) if one in case.ends else None
            for one in case.entries
        }
        contacts = {compared(one) for one in case.contacts}
        judged = judge(
            case.recipients, [listed(case.mode, ends.items())], contacts, NOW
        )
        assert judged.refused == case.refused, name
        if case.mode in ("enforce", "contacts"):
            assert set(judged.passed) == set(case.recipients) - set(case.refused), name


def test_lists_that_are_on_count_together_in_their_strictest_mode_and_an_entry_ends_at_its_end():
    people = ("ana@acme.com", "bo@x.io", "eve@evil.io")
    for one, other in product(MODES, MODES):
        lists = [
            listed(one, [(people[0], None)]),
            listed(other, [("x.io", None), ("evil.io", NOW)], key=2),
        ]
        judged = judge(people, lists, None, NOW)
        assert judged.mode == MODES[max(MODES.index(one), MODES.index(other))]
        missed = tuple(
            who
            for who, mode in zip(people, (one, other, "off"), strict=True)
            if mode == "off"
        )
        refused = () if judged.mode in ("off", "monitor") else missed
        noted = missed if judged.mode == "monitor" else ()
        assert (judged.refused, judged.would_be_refused) == (refused, noted), (
            one,
            other,
        )


DOMAINS = (
    "acme.com", "evilacme.com", "sub.acme.com", "a.sub.acme.com", "acme.com.evil.io", "evil.io", "bücher.example",
    "xn--bcher-kva.example", "bucher.example", "sub.bücher.example", "acme.co", "com",
)  # fmt: skip
spelling = st.sampled_from([str, str.upper, str.title, lambda text: text + "."])
around = st.sampled_from(
    [
        "{}",
        " {} ",
        "Ana <{}>",
        "ana@acme.com <{}>",
        "{}@evil.io",
        "{}@acme.com",
        "{}, x",
        "<{}",
    ]
)
domains = st.builds(
    lambda domain, spell: spell(domain), st.sampled_from(DOMAINS), spelling
)
people = st.sampled_from(["ana", "ANA", "ana+sales", "bo", "", "a b"])
recipients = st.builds(
    lambda form, name, domain: form.format(f"{name}@{domain}"), around, people, domains
)
listable = domains.filter(lambda domain: "." in domain.strip("."))
patterns = st.one_of(
    listable,
    listable.map(lambda domain: f"*.{domain}"),
    listable.map(lambda domain: f"*@{domain}"),
    st.builds(
        lambda name, domain: f"{name}@{domain}",
        people.filter(str.isalpha) | st.just("ana+sales"),
        listable,
    ),
)
# At the instant at which an entry ends it does not hold any more.
ends = st.sampled_from(
    [None, timedelta(microseconds=-1), timedelta(0), timedelta(microseconds=1)]
)
entries = st.lists(
    st.tuples(patterns, ends.map(lambda end: None if end is None else NOW + end)),
    max_size=5,
)
known = st.none() | st.sets(
    st.sampled_from(["ana@acme.com", "bo@evil.io", "ana@xn--bcher-kva.example"])
)


@given(st.lists(recipients, max_size=5), entries, st.data(), known)
def test_under_enforce_removing_never_allows_and_adding_never_forbids(
    people, rows, data, contacts
):
    mode = data.draw(st.sampled_from(["enforce", "contacts"]))
    fewer = [row for row in rows if data.draw(st.booleans())]
    less = judge(people, [listed(mode, fewer)], contacts, NOW)
    more = judge(
        people, [listed(mode, fewer), listed("monitor", rows, key=2)], contacts, NOW
    )
    assert set(more.refused) <= set(less.refused)
    assert set(less.passed) <= set(more.passed)


@given(st.lists(recipients, max_size=5), entries)
def test_whom_a_list_lets_through_is_found_by_the_patterns_that_are_asked_for(
    people, rows
):
    """The database is asked for these patterns alone: no entry that lets somebody
    through may be missing.
    """
    whole = listed("enforce", rows)
    asked = set(patterns_of(people))
    found = {one: entry for one, entry in whole.entries.items() if one in asked}
    part = replace(whole, entries=found)
    assert judge(people, [whole], None, NOW) == judge(people, [part], None, NOW)


def test_most_exact_entry_of_the_narrowest_list_is_the_one_that_is_named():
    narrow = listed("enforce", [("acme.com", None)], key=1)
    wide = listed("enforce", [("ana@acme.com", None), ("acme.com", None)], key=2)
    judged = judge(["ana@acme.com", "BO@acme.com"], [narrow, wide], None, NOW)
    assert judged.passed == {
        "ana@acme.com": AllowedBy("ana@acme.com", "list 2"),
        "BO@acme.com": AllowedBy("acme.com", "list 1"),
    }
    known = judge(["ana@x.io"], [listed("contacts", [])], {"ana@x.io"}, NOW)
    assert known.passed == {"ana@x.io": AllowedBy("", "the contacts of the account")}


def test_contacts_that_were_never_read_match_nobody_with_an_explanation():
    judged = judge(["ana@acme.com"], [listed("contacts", [])], None, NOW)
    assert judged.refused == ("ana@acme.com",)
    assert judged.lacks_contacts is True


def test_many_addresses_are_named_in_part():
    assert named(["a@x.io"]) == "a@x.io"
    assert named(["a@x.io", "b@x.io", "c@x.io"]) == "a@x.io, b@x.io and c@x.io"
    assert (
        named([f"{n}@x.io" for n in range(1203)])
        == "0@x.io, 1@x.io, 2@x.io and 1,200 more"
    )
