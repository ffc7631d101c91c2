"""Marks of the passages for which rules apply."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rendering.passages import with_marks

HEAD = "<!doctype html><html><head><style>p > a { content: 'EUR 5' }</style></head>"


@pytest.mark.parametrize(
    ("body", "marked"),
    [
        ("<p>Pay eur 5 &amp; EUR 5</p>", '<p>Pay <span id="rule-1" class="because">eur 5</span> &amp; EUR 5</p>'),
        ('<p title="a > EUR 5" id="x">Hi</p>', None),
        ('<p title="EUR 5">EUR 5', '<p title="EUR 5"><span id="rule-1" class="because">EUR 5</span>'),
        ("<p>EUR <b>5</b></p>", None),
        ('<p title="EUR 5', None),
    ],
)  # fmt: skip
def test_first_place_in_the_text_is_marked_and_no_attribute(body, marked):
    page = f"{HEAD}<body>{body}"
    assert with_marks(page, ["EUR 5"]) == (
        f"{HEAD}<body>{marked or body}",
        {"EUR 5": "rule-1"} if marked else {},
    )


@given(st.text('<>"=ab &', max_size=40), st.lists(st.text("ab<", max_size=3)))
def test_marks_change_nothing_but_what_they_add(body, passages):
    page = f"{HEAD}<body>{body}"
    shown, ids = with_marks(page, passages)
    for mark in ids.values():
        shown = shown.replace(f'<span id="{mark}" class="because">', "")
    assert shown.count("</span>") - body.count("</span>") == len(ids)
    assert shown.replace("</span>", "") == page.replace("</span>", "")
