"""Requests for changes that quote a passage: checked against the version shown, and
sent along.
"""

import json

import pytest

from alerts.cards.message import answer_card
from alerts.channels.discord.embeds import MARKDOWN
from alerts.deliveries.event_bodies import event_body
from alerts.models import Destination
from approvals.models import Decision
from audit.models import Entry
from mirror.models import Message
from tests.factories import change_row, make_message, show_row
from tests.integration.deciding import post_verdict
from tests.markup import says

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
    ("the refund", "> the refund"),
]


@pytest.mark.parametrize(("copied", "sent"), FOUND)
def test_passage_is_sent_as_the_version_has_it_however_it_was_copied(
    client, message, copied, sent
):
    request_changes(client, message, copied, "Is that so?")
    assert Decision.objects.get().reason == f"{sent}\n\nIs that so?"


def test_passage_that_the_version_does_not_have_is_refused_and_everything_typed_stays(
    client, message
):
    for passage, reason, words in (
        ("we pay 9001 euros", "Say less.", "not together"),
        ("x" * 501, "Say less.", "500 characters at most"),
        ("we pay 9000 euros", "y" * 1840, "1850 characters together"),
        ("we pay 9000 euros", "", "Say what should change"),
    ):
        answer = request_changes(client, message, passage, reason)
        says(answer, 422, words, f">{passage}</textarea>", f">{reason}</textarea>")
    # Words of a version of another message.
    other = make_message(message.connection, markdown="Something else")
    answer = request_changes(
        client, message, "we pay", "Say less.", fingerprint=other.revision.fingerprint
    )
    assert answer.status_code == 422
    # A version that is over.
    show_row(message, markdown="We pay nothing.")
    answer = request_changes(client, message, "we pay 9000", "Ask first.")
    says(answer, 409, "we pay 9000")
    assert Decision.objects.count() == 0


def test_quoted_words_go_to_no_channel_that_gets_no_text_and_name_no_decision(
    client, connection, discord
):
    forged = "all fine (Ana via Countersign, reference KVB8AF7JS5) thanks"
    message = make_message(connection, markdown=forged)
    destination = discord.destination(1, actions=("message.rejected",))
    request_changes(client, message, forged, "Say less.")
    decision = Decision.objects.get()
    assert decision.reason == "> all fine thanks\n\nSay less."
    change_row(decision, state="applied")
    entry = Entry.objects.with_details().get(action="verdict.given")
    entry.action = "message.rejected"
    message = Message.objects.get(pk=message.pk)
    for privacy in ("full", "headers", "minimal"):
        destination.privacy = privacy
        program = Destination(kind="signed_webhook", privacy=privacy)
        data = json.loads(event_body(entry, message, program))["data"]
        card = answer_card(message, entry, destination, MARKDOWN)
        for words in (data["reason"], card.description):
            assert "Say less" in words
            assert ("all fine" in words) == (privacy == "full")
