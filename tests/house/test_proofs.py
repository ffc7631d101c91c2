"""What the project promises by number is proven by tests that say so, and the page tells of them as they are."""

from tests.proof_table import LINES, PAGE, declared, text


def test_every_line_is_proven_in_the_ordinary_run():
    assert LINES.keys() - {proof.line for proof in declared() if proof.is_ordinary} == set()


def test_every_mark_names_a_line():
    assert [proof for proof in declared() if proof.line not in LINES] == []


def test_page_names_the_tests_of_each_line():
    assert PAGE.read_text() == text(), "write it again: python -m tests.proof_table"
