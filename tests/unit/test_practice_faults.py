"""The faults of practice messages: each is one real change, and a content that offers
nothing gets none.
"""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.message_page.content.differences import difference
from common.fingerprint import Content
from common.identifiers import CROCKFORD, ulid
from practice.faults import FAULTS, plant
from practice.planting import upstream_id_like

CONTENT = Content(
    sender="support@yourteam.example",
    to=("Dana <dana@northwind.example>",),
    subject="Your refund",
    markdown="We pay 1,200.50 EUR. See https://portal.northwind.example/4471.",
)


@pytest.mark.parametrize("fault", FAULTS)
@given(seed=st.integers())
@pytest.mark.slow
def test_fault_changes_one_field_and_says_how(fault, seed):
    content = CONTENT
    if fault == "hidden":
        content = replace(CONTENT, html="<p>Hello Dana</p>")
    made = plant(content, random.Random(seed), without=frozenset(FAULTS) - {fault})
    assert made.fault == fault
    changes = difference(content, made.content)
    assert len(changes) == 1
    assert made.explanation.endswith(".")


def test_content_that_offers_nothing_gets_no_fault():
    fine = replace(CONTENT, to=("b@yourteam.example",), markdown="Fine.")
    assert plant(fine, random.Random(1)) is None


def test_id_looks_like_the_gateways_and_can_never_be_one():
    known = ulid()
    made = upstream_id_like(known, random.Random(5))
    assert len(made) == 26
    assert set(made) <= set(CROCKFORD)
    # The gateway writes nanoseconds of a millisecond there: less than a million.
    nanoseconds = 0
    for one in made[10:14]:
        nanoseconds = nanoseconds * 32 + CROCKFORD.index(one)
    assert nanoseconds >= 1_000_000
