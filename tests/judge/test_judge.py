"""Chromium as the judge: what messages hide, move or add is named, and their simple
forms do nothing of it.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from launcher.quality import find_chromium
from tests.judge.letters import Letter, many, tricks
from tests.judge.oracles import judging

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
            judge=lambda letters: pool.submit(made.judge, letters).result()
        )
        pool.submit(context.__exit__, None, None, None).result()


def judged(judge, html):
    (one,) = judge.judge([Letter(f"<!doctype html><body>{html}", is_whole=True)])
    return one


def test_tricks_hide_move_and_add_nothing_in_silence(judge):
    found = judge.judge(tricks())
    assert [(one.letter.html, one.misses) for one in found if one.misses] == []


def test_messages_drawn_by_lot_hide_move_and_add_nothing_in_silence(judge):
    found = judge.judge(many(320, seed=1))
    assert [(one.letter.html, one.misses) for one in found if one.misses] == []
    counts = Counter(name for one in found for name in one.does)
    assert min(counts[one] for one in ("hidden", "reordered", "added", "covered")) > 1


@pytest.mark.parametrize(
    ("html", "does"),
    [
        ("<p>HHNHMN <b>MHHMMN</b></p>", set()),
        ("<p>HHNHMN <b style='visibility:hidden'>MHHMMN</b></p>", {"hidden"}),
        (
            "<style>@keyframes x{to{opacity:0}}</style><p style='animation:x 1s forwards'>HHNHMN",
            {"hidden"},
        ),
        ("<p><b style='float:right'>HHNHMN</b> MHHMMN</p>", {"reordered"}),
        (
            "<p style='direction:rtl;unicode-bidi:bidi-override'>HHNHMN</p>",
            {"reordered"},
        ),
        ("<p>HHNHMN <b style='margin-left:-70px'>MHHMMN</b></p>", {"covered"}),
        ("<style>p::before{content:'not '}</style><p>HHNHMN", {"added"}),
        ("<ol><li>HHNHMN<li>MHHMMN</ol><q>MNMNHN</q>", set()),
        (
            "<table><tr><td width=60>HHNHMN MHHMMN<td width=60>MNMNHN MNHMMN</table>",
            set(),
        ),
    ],
)
def test_judge_sees_what_a_message_does_to_its_words(judge, html, does):
    assert judged(judge, html).does == does
