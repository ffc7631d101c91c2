"""What allowlists say: by a table shared with the gateway, and by laws."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

from common.mail_addresses import compared, read_pattern
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
    return ApplicableList(f"list {key}", mode, rows)


def test_table_shared_with_the_gateway():
    for name, case in CASES.items():
        ends = {
            one: NOW + timedelta(seconds=case.ends[one]) if one in case.ends else None
            for one in case.entries
        }
        contacts = {compared(one) for one in case.contacts}
        whole = listed(case.mode, ends.items())
        judged = judge(case.recipients, [whole], contacts, NOW)
        assert judged.refused == case.refused, name
        # The database is asked for these patterns alone: no entry that lets somebody
        # through may be missing.
        asked = patterns_of(case.recipients)
        found = {one: whole.entries[one] for one in whole.entries if one in asked}
        part = replace(whole, entries=found)
        assert judge(case.recipients, [part], contacts, NOW) == judged, name
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


def test_most_exact_entry_of_the_narrowest_list_is_the_one_that_is_named():
    narrow = listed("enforce", [("acme.com", None)], key=1)
    wide = listed("enforce", [("ana@acme.com", None), ("acme.com", None)], key=2)
    judged = judge(["ana@acme.com", "BO@acme.com"], [narrow, wide], None, NOW)
    assert judged.passed == {
        "ana@acme.com": AllowedBy("ana@acme.com", "list 2"),
        "BO@acme.com": AllowedBy("acme.com", "list 1"),
    }


def test_many_addresses_are_named_in_part():
    many = named([f"{number}@x.io" for number in range(1203)])
    assert many == "0@x.io, 1@x.io, 2@x.io and 1,200 more"
