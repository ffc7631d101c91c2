"""Chromium as the judge: of simple forms, and of originals that count as the same, every
word can be read, at its place, and none is lost.
"""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from launcher.quality import find_chromium
from tests.corpus import all_letters
from tests.judge.judging import judging
from tests.judge.letters import many

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
            misses=lambda letters: pool.submit(made.misses, letters).result(),
            wrong_with=lambda pages: pool.submit(made.wrong_with, pages).result(),
        )
        pool.submit(context.__exit__, None, None, None).result()


def test_forms_of_letters_drawn_by_lot_are_right(judge):
    assert judge.misses([one.html for one in many(200, seed=1)]) == {}


def test_forms_of_letters_of_readers_are_right(judge):
    # In one of them a character is left out inside of a word.
    letters = [one.body for one in all_letters() if not one.name.startswith("087")]
    assert judge.misses(letters) == {}


@pytest.mark.parametrize(
    ("html", "what"),
    [
        ("<p>one <b>two</b></p>", set()),
        ("<p>one <b style='display:none'>two</b></p>", {"hidden"}),
        ("<p>one <b style='color:#fff;background:#fff'>two</b></p>", {"unreadable"}),
        ("<p>one <b style='margin-left:-30px'>two</b></p>", {"garbled"}),
        ("<p>one <b style='float:left'>two</b></p>", {"moved"}),
        ("<p style='position:absolute;left:-99px'>one</p>", {"outside", "covered"}),
        (
            "<p>one</p><div style='background:#fff;margin-top:-60px;height:60px;position:relative'>",
            {"covered"},
        ),
    ],
)
def test_judge_sees_what_is_done_to_words(judge, html, what):
    (found,) = judge.wrong_with([f"<!doctype html><body>{html}"])
    assert {one.split()[2].rstrip(":") for one in found} == what
