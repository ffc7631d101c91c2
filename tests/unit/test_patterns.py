"""No regular expression of the product takes long, whatever a stranger writes."""

import re

import pytest

from tests.pattern_inputs import (
    Found,
    find_patterns,
    first_too_slow,
    parts_of,
    repeated,
)

pytestmark = pytest.mark.slow

# Two that stopped the desk, and one that takes quadratic time.
SLOW = [
    re.compile(
        r"\s*(?:<\?xml[^>]{0,200}\?>\s*|<!--.{0,2000}?-->\s*)*<(!doctype\s+)?([a-z:]+)",
        re.I | re.S,
    ),
    re.compile(
        r"seal ([0-9]{1,15})\b.*?\b([0-9][0-9,]{0,18}) entr(?:y|ies)\b.*?\broot\W+([0-9a-f]{64})\b",
        re.S | re.I,
    ),
    re.compile(r"[ \t]+\n"),
]


def too_slow(patterns):
    """Return the places of patterns that take long, each with the input."""
    cases = [
        (one, repeated(part)) for one in patterns for part in parts_of(one.pattern)
    ]
    slow = []
    while (number := first_too_slow(cases)) is not None:
        found, text = cases[number]
        slow.append((found.place, found.pattern.pattern, text[:200]))
        cases = [case for case in cases[number:] if case[0] is not found]
    return slow


def test_every_pattern_is_found_and_takes_no_longer_than_its_input_is_long():
    patterns, unknown = find_patterns()
    assert unknown == []
    assert len(patterns) > 250
    assert too_slow(patterns) == []


def test_patterns_that_were_slow_are_found():
    assert len(too_slow([Found("before", one) for one in SLOW])) == len(SLOW)
