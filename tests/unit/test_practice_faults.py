"""The faults of practice messages: each is one real change, and a content that offers
nothing gets none.
"""

import random
import re
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.fingerprint import Content, fingerprint
from common.identifiers import CROCKFORD, ulid
from practice.faults import (
    _IBAN,
    FAULTS,
    is_iban,
    lookalike_domain,
    plant,
    ten_times,
)
from practice.planting import upstream_id_like

CONTENT = Content(
    sender="support@yourteam.example",
    to=("Dana <dana@northwind.example>",),
    subject="Your refund",
    markdown=(
        "Hello **Dana**,\n\nwe pay 1,200.50 EUR to DE89 3704 0044 0532 0130 00.\n"
        "See https://portal.northwind.example/4471."
    ),
)
ONLY = {name: frozenset(FAULTS) - {name} for name in FAULTS}


@pytest.mark.parametrize("fault", FAULTS)
@given(seed=st.integers())
def test_fault_changes_one_field_and_says_how(fault, seed):
    content = (
        replace(CONTENT, html="<p>Hello Dana</p>") if fault == "hidden" else CONTENT
    )
    made = plant(content, random.Random(seed), without=ONLY[fault])
    assert made is not None
    changed = [
        one.name
        for one in fields(Content)
        if getattr(content, one.name) != getattr(made.content, one.name)
    ]
    assert len(changed) == 1
    assert made.fault == fault
    assert fingerprint(made.content) != fingerprint(content)
    assert made.explanation.endswith((".", "."))
    assert made.content.sender == content.sender


@given(st.text(), st.text(max_size=40), st.integers())
def test_planting_never_fails_and_never_leaves_a_content_as_it_was(
    markdown, address, seed
):
    content = Content(sender="a@own.example", to=(address,), markdown=markdown)
    made = plant(content, random.Random(seed))
    assert made is None or made.content != content


def test_content_that_offers_nothing_gets_no_fault():
    assert (
        plant(
            Content(sender="a@own.example", to=("b@own.example",), markdown="Fine."),
            random.Random(1),
        )
        is None
    )


@given(st.integers(1, 10**9 - 1), st.booleans(), st.sampled_from(["", ".", ","]))
def test_ten_times_is_ten_times_and_written_the_same_way(whole, has_cents, separator):
    cents = {"": ".50", ".": ",50", ",": ".50"}[separator] if has_cents else ""
    written = (
        f"{whole:,}".replace(",", separator)
        if separator and whole > 999
        else str(whole)
    ) + cents
    digits = re.sub(r"\D", "", written.removesuffix(cents) if cents else written)
    found = ten_times(written)
    assert found.endswith(cents)
    assert (
        int(re.sub(r"\D", "", found.removesuffix(cents) if cents else found))
        == int(digits) * 10
    )


@given(st.integers())
def test_another_account_is_a_valid_one(seed):
    made = plant(CONTENT, random.Random(seed), without=ONLY["account"])
    assert made is not None
    found = _IBAN.search(made.content.markdown or "")
    assert found is not None
    assert is_iban(found[0]) is True
    assert found[0] != "DE89 3704 0044 0532 0130 00"


@given(st.from_regex(r"\A[a-z]{3,12}\.(example|com)\Z"), st.integers())
def test_lookalike_is_another_domain_with_the_same_ending(domain, seed):
    other = lookalike_domain(domain, random.Random(seed))
    assert other == "" or (
        other != domain and other.rpartition(".")[2] == domain.rpartition(".")[2]
    )


@given(st.integers())
def test_id_looks_like_the_gateways_and_can_never_be_one(seed):
    known = ulid()
    made = upstream_id_like(known, random.Random(seed))
    assert len(made) == 26
    assert set(made) <= set(CROCKFORD)
    value = sum(
        CROCKFORD.index(one) << (5 * place) for place, one in enumerate(reversed(made))
    )
    # The gateway writes nanoseconds of a millisecond there: less than a million.
    assert (value >> 60) & (2**20 - 1) >= 1_000_000


@pytest.mark.parametrize(
    "known",
    [
        "5",
        "01EMAIL7",
        "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "msg_8f14e45fceea167a5a36dedd4bea2543",
    ],
)
def test_id_of_hosted_multimail_is_another_of_the_same_kind(known):
    made = upstream_id_like(known, random.Random(7))
    assert made != known
    assert len(made) == (36 if len(known) < 20 else len(known))
