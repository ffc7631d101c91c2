"""No regular expression of the product takes long, whatever a stranger writes."""

import re

import pytest

from tests.pattern_inputs import Found, find_patterns, first_too_slow

pytestmark = pytest.mark.slow

# Patterns that stopped the desk, and others that take more than linear time: scanned,
# or compared with the whole text.
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
    re.compile(rb"x*y"),
]
SLOW_WHOLE = [
    re.compile(r"(?:https?://[^\s/?#\\]+[^\s]*|mailto:[^\s]+)", re.I),
    re.compile(r"\S*[@.]\S*"),
    re.compile(r"[a-z](?:[\w-]|[^\x00-\x7f])*"),
]


def test_every_pattern_is_found_and_takes_no_longer_than_its_input_is_long():
    patterns, unknown = find_patterns()
    assert unknown == []
    assert len(patterns) > 250
    slow = [(one.place, one.pattern.pattern, first_too_slow(one)) for one in patterns]
    assert [one for one in slow if one[2]] == []


def test_patterns_that_were_slow_are_found():
    patterns = [Found("scanned", one) for one in SLOW]
    patterns += [Found("whole", one, scans=False) for one in SLOW_WHOLE]
    assert [one.pattern.pattern for one in patterns if not first_too_slow(one)] == []
