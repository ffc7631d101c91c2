"""The table of faults: every fault has a test, and the page names the tests as they are."""

import re

from tests.fault_table import NAMES, TABLE, declared

_NUMBERS = [*range(1, 48), 50, 53, 54, 55, 56, 57, 61, 62, 63, 64, 65, 66]


def test_every_fault_has_a_name_and_a_test():
    assert sorted(NAMES) == _NUMBERS
    assert sorted({fault.number for fault in declared()}) == _NUMBERS


def test_page_lists_the_tests_as_they_are_marked():
    rows = [
        re.sub(r" \*\*.*?\*\*(?= \|$)", "", line) for line in TABLE.read_text().splitlines() if line.startswith("| ")
    ]
    listed = {line for line in rows if line.split("|")[1].strip().isdecimal()}
    marked = {f"| {fault.number} | {NAMES[fault.number]} | {fault.injected} | {fault.held} |" for fault in declared()}
    advice = "write it anew: ./run test --all tests -m fault --write-faults"
    assert listed - marked == set(), f"docs/faults.md tells of what no test is marked with; {advice}"
    assert marked - listed == set(), f"docs/faults.md does not tell of all that is tested; {advice}"


def test_marks_are_sentences_that_fit_a_table():
    sentences = [sentence for fault in declared() for sentence in (fault.injected, fault.held)]
    assert [text for text in sentences if not text.endswith(".") or "|" in text or "\n" in text] == []
