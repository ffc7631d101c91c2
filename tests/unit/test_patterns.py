"""No regular expression of the product takes long, whatever a stranger writes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pattern_inputs import LARGEST, Found, find_patterns, first_too_slow, parts_of, repeated, worst_inputs

PATTERNS, UNKNOWN = find_patterns()
# Two that stopped the desk, and one that takes quadratic time.
SLOW = [
    re.compile(r"\s*(?:<\?xml[^>]{0,200}\?>\s*|<!--.{0,2000}?-->\s*)*<(!doctype\s+)?([a-z:]+)", re.I | re.S),
    re.compile(
        r"seal ([0-9]{1,15})\b.*?\b([0-9][0-9,]{0,18}) entr(?:y|ies)\b.*?\broot\W+([0-9a-f]{64})\b", re.S | re.I
    ),
    re.compile(r"[ \t]+\n"),
]


def too_slow(found, *, is_thorough):
    """Return the input that is killed and the smallest size at which it is; None where none is."""
    inputs = list(worst_inputs(found.pattern, is_thorough=is_thorough))
    number = first_too_slow(found, (repeated(*one) for one in inputs))
    if number is None:
        return None
    sizes = [2**power for power in range(8, LARGEST.bit_length())]
    smallest = next(size for size in sizes if first_too_slow(found, [repeated(*inputs[number], size)]) is not None)
    return found.place, found.pattern.pattern, inputs[number], smallest


def test_every_pattern_is_found_and_takes_no_longer_than_its_input_is_long():
    assert UNKNOWN == []
    assert len(PATTERNS) > 250
    slow = [found for one in PATTERNS if (found := too_slow(one, is_thorough=False))]
    assert slow == []


@pytest.mark.slow
def test_patterns_stay_quick_on_combinations_of_their_parts():
    slow = [found for one in PATTERNS if (found := too_slow(one, is_thorough=True))]
    assert slow == []


@pytest.mark.parametrize(
    "pattern",
    [pytest.param(SLOW[0], marks=pytest.mark.slow), pytest.param(SLOW[1], marks=pytest.mark.slow), SLOW[2]],
    ids=["exponential", "cubic", "quadratic"],
)
def test_patterns_that_were_slow_are_found(pattern):
    inputs = (repeated(*one) for one in worst_inputs(pattern, is_thorough=False))
    assert first_too_slow(Found("before", pattern), inputs) is not None


@given(st.data())
def test_no_mixture_of_parts_is_slow(data):
    found = data.draw(st.sampled_from(PATTERNS))
    part = st.sampled_from(parts_of(found.pattern) or ("a",)) | st.text(max_size=2)
    before, one, end = (data.draw(st.lists(part, max_size=3).map("".join)) for _ in range(3))
    assert first_too_slow(found, [repeated(before, one or "a", end)]) is None
