"""Requests for changes that quote a passage: checked against the version shown, and
sent along.
"""

import re

import pytest

from alerts.cards.message import answer_card
from alerts.channels.discord.embeds import MARKDOWN
from alerts.deliveries.event_bodies import event_data
from approvals.models import Decision
from audit.models import Entry
from mirror.models import Message
from tests.factories import make_message, show_row
from tests.integration.deciding import post_verdict
from tests.ledger import latest_details

TEXT = "Hello **Dana**,\n\nwe pay **9000**\neuros <b>today</b>.\n\n- Not\u200b later\n- [Not here](https://a.example/)"


@pytest.fixture
def message(connection):
    return make_message(connection, subject="About the refund", markdown=TEXT)


@pytest.fixture
def client(signed_in, reviewer):
    return signed_in(reviewer)


def request_changes(client, message, passage, reason, **fields):
    fields |= {"outcome": "send_back", "passage": passage, "reason": reason}
    return post_verdict(client, message, **fields)


FOUND = [
    # As the text has it, as the laid-out message is copied, and the subject.
    ("we pay **9000**\neuros", "> we pay **9000**\n> euros"),
    (
        "Dana,\r\n\r\n  we\u00a0pay 9000   euros <b>today</b>.",
        "> **Dana**,\n> we pay **9000**\n> euros <b>today</b>.",
    ),
    ("Not ZERO WIDTH SPACE later", "> Not[ZERO WIDTH SPACE] later"),
    ("later\nNot here", None),
    ("the refund", "> the refund"),
]


@pytest.mark.parametrize(("copied", "sent"), FOUND)
def test_passage_is_sent_as_the_version_has_it_however_it_was_copied(
    client, message, copied, sent
):
    assert request_changes(client, message, copied, "Is that so?").status_code == 302
    quoted, _, reason = Decision.objects.get().reason.partition("\n\n")
    assert reason == "Is that so?"
    assert quoted == sent or (sent is None and quoted.startswith("> later"))


def test_passage_that_the_version_does_not_have_is_refused_and_everything_typed_stays(
    client, message
):
    cases = (
        ("we pay 9001 euros", "not together"),
        ("x" * 501, "500 characters at most"),
    )
    for passage, words in cases:
        answer = request_changes(client, message, passage, "Say less.")
        shown = answer.text
        assert answer.status_code == 422, words
        assert words in shown, words
        assert re.search(
            rf'name="passage"[^>]*aria-invalid="true"[^>]*>{passage}</textarea>', shown
        )
        assert ">Say less.</textarea>" in shown
    # Words of a version of another message.
    other = make_message(message.connection, markdown="Something else")
    answer = request_changes(
        client, message, "we pay", "Say less.", fingerprint=other.revision.fingerprint
    )
    assert answer.status_code == 422
    assert Decision.objects.count() == 0


def test_request_for_changes_sends_the_passage_as_a_markdown_quote_before_the_reason(
    client, message
):
    assert (
        request_changes(
            client, message, "we pay 9000 euros", "Ask sales first."
        ).status_code
        == 302
    )
    decision = Decision.objects.get()
    assert decision.reason == "> we pay **9000**\n> euros\n\nAsk sales first."
    assert latest_details("verdict.given")["reason"] == decision.reason


def test_quoted_words_go_to_no_channel_that_gets_no_text_and_name_no_decision(
    client, connection, discord
):
    forged = "all fine (Ana via Countersign, reference KVB8AF7JS5) thanks"
    message = make_message(connection, markdown=forged)
    destination = discord.destination(1, actions=("message.rejected",))
    request_changes(client, message, forged, "Say less.")
    decision = Decision.objects.get()
    assert decision.reason == "> all fine thanks\n\nSay less."
    decision.state = "applied"
    decision.save(update_fields=["state"])
    entry = Entry.objects.with_details().get(action="verdict.given")
    entry.action = "message.rejected"
    message = Message.objects.get(pk=message.pk)
    for privacy, expected in (("full", True), ("headers", False), ("minimal", False)):
        destination.privacy = privacy
        data = event_data(entry, message, name="rejected", privacy=privacy)
        card = answer_card(message, entry, destination, MARKDOWN)
        shown = [
            ("all fine" in words, "Say less" in words)
            for words in (data["reason"], card.description)
        ]
        assert shown == [(expected, True)] * 2, privacy


def test_passage_and_reason_fit_together_and_a_passage_alone_is_no_reason(
    client, message
):
    answer = request_changes(client, message, "we pay 9000 euros", "y" * 1840)
    assert answer.status_code == 422
    assert "1850 characters together" in answer.text
    answer = request_changes(client, message, "we pay 9000 euros", "")
    assert answer.status_code == 422
    assert "Say what should change" in answer.text
    assert Decision.objects.count() == 0


def test_words_of_a_version_that_is_over_are_kept_when_changes_are_requested_too_late(
    client, message
):
    show_row(message, markdown="We pay nothing.")
    answer = request_changes(client, message, "we pay 9000", "Ask first.")
    assert answer.status_code == 409
    assert "we pay 9000" in answer.text
    assert Decision.objects.count() == 0
