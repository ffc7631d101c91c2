"""Chromium as the judge: what messages hide, move or add is named, and their simple
forms do nothing of it.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from launcher.quality import find_chromium
from tests.judge.__main__ import count, with_own_words
from tests.judge.letters import Letter, many, tricks
from tests.judge.oracles import judging
from tests.judge.shrinking import shrink

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_chromium() is None, reason="no Chromium: install chromium-headless-shell"
    ),
]


@pytest.fixture(scope="module")
def judge():
    # Playwright has one event loop in each thread, and tests of pages use that of this
    # one.
    with ThreadPoolExecutor(1) as pool:
        context = judging()
        made = pool.submit(context.__enter__).result()
        yield SimpleNamespace(
            judge=lambda *asked, **options: pool.submit(
                made.judge, *asked, **options
            ).result()
        )
        pool.submit(context.__exit__, None, None, None).result()


def judged(judge, html):
    (one,) = judge.judge([Letter(f"<!doctype html><body>{html}", is_whole=True)])
    return one


def test_tricks_hide_move_and_add_nothing_in_silence(judge):
    found = judge.judge(tricks())
    assert [(one.letter.html, one.misses) for one in found if one.misses] == []


def test_messages_drawn_by_lot_hide_move_and_add_nothing_in_silence(judge):
    found = judge.judge(many(2000, seed=1))
    missed = [(one.letter, miss.kind) for one in found for miss in one.misses]
    smallest = (
        [shrink(judge, *min(missed, key=lambda one: len(one[0].html)))]
        if missed
        else []
    )
    counts = sum(map(count, found), Counter())
    assert len(missed) == 0
    assert smallest == []
    assert (
        min(counts[one] for one in ("hidden", "reordered", "added", "covered")) > 5
    ), counts


@pytest.mark.parametrize(
    ("html", "does"),
    [
        ("<p>HHNHMN <b>MHHMMN</b></p>", set()),
        ("<p>HHNHMN <b style='visibility:hidden'>MHHMMN</b></p>", {"hidden"}),
        ("<p>HHNHMN</p><template>MHHMMN</template>", {"hidden"}),
        (
            "<style>@keyframes x{to{opacity:0}}</style><p style='animation:x 1s forwards'>HHNHMN",
            {"hidden"},
        ),
        ("<p>HHNHMN <b style='float:right'>MHHMMN</b></p>", set()),
        ("<p><b style='float:right'>HHNHMN</b> MHHMMN</p>", {"reordered"}),
        (
            "<p style='direction:rtl;unicode-bidi:bidi-override'>HHNHMN</p>",
            {"reordered"},
        ),
        ("<p>HHNHMN <b style='margin-left:-70px'>MHHMMN</b></p>", {"covered"}),
        ("<style>p::before{content:'not '}</style><p>HHNHMN", {"added"}),
        ("<style>ol{list-style:'not '}</style><ol><li>HHNHMN", {"added"}),
        ("<ol><li>HHNHMN<li>MHHMMN</ol><q>MNMNHN</q>", set()),
        (
            "<table><tr><td width=60>HHNHMN MHHMMN<td width=60>MNMNHN MNHMMN</table>",
            set(),
        ),
    ],
)
def test_judge_sees_what_a_message_does_to_its_words(judge, html, does):
    assert judged(judge, html).does == does


def test_words_of_a_file_are_replaced_by_words_that_can_be_judged():
    replaced = with_own_words(
        "<title>Yes</title><p class=note>Pay &amp; go<!-- now -->", 0
    )
    assert replaced == "<title>Yes</title><p class=note>HHNHMN &amp; MHHMMN<!-- now -->"
