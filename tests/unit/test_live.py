"""The live process: who is handed a hint, and what does not end it."""

import json

import pytest

from dashboard import live


def hand_out(reach, *texts):
    """Return what a page with this reach is given."""
    page = live.Page(reach)
    live._pages.add(page)
    try:
        for text in texts:
            live._hand_out(text)
    finally:
        live._pages.discard(page)
    return [page.hints.get_nowait() for _ in range(page.hints.qsize())]


def hint(connection=1, mailbox=11):
    return json.dumps({"connection": connection, "mailbox": mailbox})


@pytest.mark.parametrize(
    ("reach", "given"),
    [
        ([(None, None)], True),
        ([(1, None)], True),
        ([(None, 11)], True),
        ([(1, 11)], True),
        ([(2, None)], False),
        ([(1, 12)], False),
        ([(None, 12)], False),
        ([], False),
        ([(2, None), (1, 11)], True),
    ],
)
def test_hint_reaches_only_who_may_see_the_message(reach, given):
    assert bool(hand_out(reach, hint())) is given


def test_message_without_mailbox_is_not_for_those_of_one_mailbox():
    assert hand_out([(1, 11)], hint(mailbox=None)) == []
    assert hand_out([(1, None)], hint(mailbox=None)) != []


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "5", "{}", '{"connection": 1}'])
def test_nonsense_on_the_channel_does_not_end_the_reader(text):
    assert hand_out([(None, None)], text, hint()) == [hint()]


@pytest.mark.parametrize("reach", [[(None, None)], [(2, None)], [(2, 21)]], ids=str)
def test_what_changes_every_page_reaches_every_page(reach):
    assert len(hand_out(reach, json.dumps({"kind": "standing", "connection": None, "mailbox": None}))) == 1


def test_page_that_does_not_keep_up_misses_hints_and_lives():
    assert len(hand_out([(None, None)], *[hint()] * (live.MAX_WAITING + 5))) == live.MAX_WAITING
