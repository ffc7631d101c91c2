"""Chromium as the judge of exact letters: their readers see the same words, numbers and
links in the same order as in the simple form, and nothing else is loaded.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from launcher.quality import find_chromium
from simple_form.result import SimpleForm
from tests.judge.exact import ExactJudge, corpus_letters, exact_forms, new_letters

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_chromium() is None, reason="no Chromium: install chromium-headless-shell"
    ),
]


@pytest.fixture(scope="module")
def differences():
    """Return a function that judges forms, by letter."""
    # Playwright has one event loop in each thread, and tests of pages use that of this
    # one.
    with ThreadPoolExecutor(1) as pool:
        judge = pool.submit(ExactJudge).result()
        yield lambda forms: pool.submit(judge.differences, forms).result()
        pool.submit(judge.close).result()


def test_exact_letters_that_were_written_to_deceive_do_not_differ(differences):
    letters = new_letters()
    forms = exact_forms(letters.values())
    different = differences(forms)
    assert [name for name, letter in letters.items() if letter in different] == []
    plain = [letter for name, letter in letters.items() if name.startswith("same:")]
    assert len([letter for letter in plain if letter in forms]) >= 20


def test_exact_letters_of_the_corpus_do_not_differ(differences):
    letters = corpus_letters()
    forms = exact_forms(letters.values())
    assert len(forms) >= 200
    different = differences(forms)
    assert [name for name, letter in letters.items() if letter in different] == []


# A letter, a form of it, and what the judge says first of them.
JUDGED = {
    "<p>Pay <b>not</b> 5</p>": ("<p>Pay <b>not</b> 5</p>", ""),
    "<p>Pay <b style='color:#fff'>not</b> 5</p>": ("<p>Pay <b>not</b> 5</p>", "words"),
    "<p>Pay <s style='text-decoration:none'>not</s> 5</p>": (
        "<p>Pay <s>not</s> 5</p>",
        "line",
    ),
    "<ol start=3><li>Pay</ol>": ("<ol><li>Pay</ol>", "numbers"),
    "<p>Pay <q>not</q></p>": ("<p>Pay not</p>", "spoken"),
    "<p>Pay <b style='float:left'>not</b> 5</p>": ("<p>Pay <b>not</b> 5</p>", "order"),
    "<p>Pay <a href='https://a.example/'>5</a></p>": (
        "<p>Pay <a href='https://b.example/'>5</a></p>",
        "link",
    ),
    "<p style='background:url(https://a.example/b.png)'>Pay</p>": (
        "<p>Pay</p>",
        "loads",
    ),
    "<p style='color:ffffff'>Pay</p>": ("<p>Pay</p>", "words"),
}


def test_judge_sees_what_a_form_does_not_have(differences):
    forms = {letter: SimpleForm(form, form) for letter, (form, _) in JUDGED.items()}
    found = differences(forms)
    first = {
        letter: found[letter][0].split()[3] if letter in found else ""
        for letter in JUDGED
    }
    assert first == {letter: kind for letter, (_, kind) in JUDGED.items()}
