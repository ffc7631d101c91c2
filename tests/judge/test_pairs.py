"""Each pair of parts that say different things has a finding. A Markdown body has none
where its HTML shows it as it is written.
"""

import pytest

from risk.jobs import examine
from tests.judge.pairs import read_pairs

pytestmark = pytest.mark.slow


def is_named(content):
    """Whether a reviewer learns that the parts of a message differ."""
    examined = examine(content)
    if any(finding.rule == "parts_differ" for finding in examined.findings):
        return True
    if examined.shown.doubt:
        return True
    is_as_written = examined.shown.plain.split() == content.markdown.split()
    return content.html is None and is_as_written


def test_pairs_are_read_whole():
    pairs = read_pairs()
    assert len({pair.name for pair in pairs}) == len(pairs) == 100
    assert sum(pair.content.html is None for pair in pairs) == 50
    assert all(pair.content.markdown for pair in pairs)


# Letters between single underscores are in italics, in most Markdown that people write.
ITALICS = ["name between one underscore each", "underscores around two names"]
# The simple form does not reverse it: the original is said to look different.
REVERSED = "direction overridden in the HTML"


def test_parts_that_say_different_things_have_a_finding():
    pairs = {pair.name: pair.content for pair in read_pairs()}
    missed = [name for name, content in pairs.items() if not is_named(content)]
    assert missed == [*ITALICS, REVERSED]
    rules = {finding.rule for finding in examine(pairs[REVERSED]).findings}
    assert rules == {"looks_different"}
