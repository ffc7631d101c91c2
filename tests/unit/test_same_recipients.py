"""The recipients of many messages alike, as PostgreSQL writes them down for a
rehearsal.
"""

import json

import pytest

from mirror.models.messages import recipients_in


@pytest.mark.parametrize(
    "recipients",
    [
        [],
        [""],
        ["a@x.example"],
        ["a@x.example", "b@y.example"],
        ['a","b', "c"],
        ["a\\", "b"],
        ["\n", "ü"],
    ],
)
def test_recipients_are_read_as_they_were_whatever_stands_in_them(recipients):
    assert (
        recipients_in(json.dumps(recipients, ensure_ascii=False, separators=(",", ":")))
        == recipients
    )
    assert recipients_in(None) == []
