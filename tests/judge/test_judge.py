"""Chromium as the judge: of simple forms, and of originals that count as the same, every
word can be read, at its place, and none is lost.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from launcher.quality import find_chromium
from simple_form import simplify
from tests.corpus import HERE, all_letters
from tests.judge.judging import Judge
from tests.judge.letters import many

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_chromium() is None, reason="no Chromium: install chromium-headless-shell"
    ),
]


@pytest.fixture(scope="module")
def ask():
    """Return a function that calls a method of a judge."""
    # Playwright has one event loop in each thread, and tests of pages use that of this
    # one.
    with ThreadPoolExecutor(1) as pool:
        judge = pool.submit(Judge).result()
        yield lambda method, given: pool.submit(method, judge, given).result()
        pool.submit(judge.close).result()


def test_forms_of_letters_drawn_by_lot_are_right(ask):
    assert ask(Judge.misses, many(200, seed=1)) == {}


def test_forms_of_letters_of_readers_are_right(ask):
    # In one of them a character is left out inside of a word.
    letters = [one.body for one in all_letters() if not one.name.startswith("087")]
    assert ask(Judge.misses, letters) == {}


def test_forms_of_designed_letters_are_not_wider_than_the_window_of_a_phone(ask):
    paths = [*HERE.glob("designed/*.html"), *HERE.glob("honest/*_designed_*.html")]
    forms = {simplify(path.read_text()).html: path.name for path in paths}
    assert len(forms) >= 60
    wider = ask(Judge.wider, list(forms))
    assert [forms[html] for html in wider] == []


# What a page does to its words.
DONE = {
    "<p>one <b>two</b></p>": "",
    "<p>one <b style='display:none'>two</b></p>": "hidden",
    "<p>one <b style='color:#fff;background:#fff'>two</b></p>": "unreadable",
    "<p>one <b style='margin-left:-30px'>two</b></p>": "garbled",
    "<p>one <b style='float:left'>two</b></p>": "moved",
    "<p style='position:absolute;left:-99px'>one</p>": "covered outside",
    "<p>one</p><hr style='background:#fff;margin-top:-60px;height:60px;position:relative'>": "covered",
}


def test_judge_sees_what_is_done_to_words(ask):
    pages = {f"<!doctype html><body>{html}": done for html, done in DONE.items()}
    found = {
        page: " ".join(sorted({one.split()[2].rstrip(":") for one in wrong}))
        for page, wrong in ask(Judge.wrong_with, list(pages)).items()
    }
    assert found == pages
