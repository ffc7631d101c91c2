"""Comments and requests for changes that quote a passage: checked against the version shown, kept, and sent along."""

import re

import pytest

from alerts.cards.answer import answer_card
from alerts.channels.discord.markdown import MARKDOWN
from alerts.deliveries.event_bodies import event_data
from approvals.models import Comment, Decision
from audit.models import Entry
from mirror.models import Message
from tests.factories import make_message, show_row

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}
TEXT = "Hello **Dana**,\n\nwe pay **9000**\neuros <b>today</b>.\n\n- Not\u200b later\n- [Not here](https://a.example/)"


@pytest.fixture
def message(connection):
    return make_message(connection, subject="About the refund", markdown=TEXT)


@pytest.fixture
def client(signed_in, reviewer):
    return signed_in(reviewer)


def say(client, message, passage, *, fingerprint=None, text="Is that so?", **headers):
    shown = message.revision.fingerprint if fingerprint is None else fingerprint
    posted = {"text": text, "passage": passage, "fingerprint": shown}
    return client.post(f"/queue/{message.public_id}/comments/", posted, headers=headers)


def request_changes(client, message, passage, reason):
    posted = {"outcome": "send_back", "passage": passage, "reason": reason}
    posted["fingerprint"] = message.revision.fingerprint
    return client.post(f"/queue/{message.public_id}/verdict/", posted)


def page(client, message, query=""):
    return client.get(f"/queue/{message.public_id}/{query}").content.decode()


def marked(page):
    """What the text view marks as the passage."""
    found = re.search(r'<mark\s+id="passage"[^>]*>(.*?)</mark>', page, re.DOTALL)
    return found[1] if found else ""


FOUND = [
    # As the text has it, as the laid-out message is copied, and the subject.
    ("we pay **9000**\neuros", "we pay **9000**\neuros"),
    ("Dana,\r\n\r\n  we\u00a0pay 9000   euros <b>today</b>.", "**Dana**,\nwe pay **9000**\neuros <b>today</b>."),
    ("Not ZERO WIDTH SPACE later", "Not[ZERO WIDTH SPACE] later"),
    ("later\nNot here", None),
    ("the refund", "the refund"),
]


@pytest.mark.parametrize(("copied", "stored"), FOUND)
def test_passage_is_stored_as_the_version_has_it_however_it_was_copied(client, message, copied, stored):
    assert say(client, message, copied).status_code == 302
    comment = Comment.objects.get()
    assert comment.fingerprint == message.revision.fingerprint
    assert comment.passage == stored or (stored is None and comment.passage.split()[0] == "later")


def test_passage_that_the_version_does_not_have_is_refused_and_everything_typed_stays(client, message, reviewer):
    cases = (("we pay 9001 euros", "not together"), ("x" * 501, "500 characters at most"))
    for passage, words in cases:
        for headers in ({}, HTMX):
            answer = say(client, message, passage, **headers)
            shown = answer.content.decode()
            assert (answer.status_code, words in shown) == (422, True), words
            assert re.search(rf'name="passage"[^>]*aria-invalid="true"[^>]*>{passage}</textarea>', shown)
            assert ">Is that so?</textarea>" in shown
        answer = request_changes(client, message, passage, "Say less.")
        shown = answer.content.decode()
        assert (answer.status_code, words in shown, Decision.objects.count()) == (422, True, 0)
        assert re.search(rf'name="passage"[^>]*aria-invalid="true"[^>]*>{passage}</textarea>', shown)
        assert ">Say less.</textarea>" in shown
    # Words of no version of this message, or of none that is named.
    other = make_message(message.connection, markdown="Something else")
    assert say(client, message, "we pay", fingerprint=other.revision.fingerprint).status_code == 422
    assert say(client, message, "we pay", fingerprint="").status_code == 422
    assert Comment.objects.count() == 0


def test_passage_is_shown_escaped_in_the_ledger_and_says_when_its_version_is_over(client, message, signed_in, auditor):
    say(client, message, "euros <b>today</b>")
    version, comment = message.revision, Comment.objects.get()
    entry = Entry.objects.select_related("detail").get(action="comment.added")
    assert (entry.fingerprint, entry.detail.fields["passage"]) == (version.fingerprint, "euros <b>today</b>")
    shown = page(client, message)
    assert "<bdi>euros &lt;b&gt;today&lt;/b&gt;</bdi></p></blockquote>" in shown
    assert f"view=text&amp;comment={comment.pk}#passage" in shown
    # The link marks it in the text, on the page on which it is.
    text = page(client, message, f"?view=text&comment={comment.pk}")
    assert marked(text) == "euros &lt;b&gt;today&lt;/b&gt;"
    trail = signed_in(auditor).get(f"/audit/trace/{message.public_id}/").content.decode()
    assert "euros &lt;b&gt;today&lt;/b&gt;" in trail
    assert "<b>today</b>" not in shown + text + trail

    show_row(message, markdown="We pay nothing.")
    shown = page(client, message)
    assert f'From an earlier version, <span class="mono">{version.short_fingerprint}</span>' in shown
    assert marked(page(client, message, f"?view=text&comment={comment.pk}")) == ""
    # Somebody whose page is older than that quotes what they read.
    say(client, message, "we pay 9000", fingerprint=version.fingerprint)
    assert Comment.objects.latest("pk").fingerprint == version.fingerprint


def test_passage_far_into_a_long_text_is_marked_on_its_page_and_one_across_signs_says_where_to_look(client, connection):
    message = make_message(connection, markdown="word " * 30_000 + "the end\n\n# Title\n\nof it")
    say(client, message, "the end")
    say(client, message, "the end\nTitle")
    first, second = Comment.objects.order_by("pk")
    text = page(client, message, f"?view=text&comment={first.pk}")
    assert marked(text) == "the end"
    assert "of 150,0" in text
    assert "not together in the text" in page(client, message, f"?view=text&comment={second.pk}")


def test_request_for_changes_sends_the_passage_as_a_markdown_quote_before_the_reason(client, message):
    assert request_changes(client, message, "we pay 9000 euros", "Ask sales first.").status_code == 302
    decision = Decision.objects.get()
    assert decision.reason == "> we pay **9000**\n> euros\n\nAsk sales first."
    entry = Entry.objects.select_related("detail").get(action="verdict.given")
    assert entry.detail.fields["reason"] == decision.reason


def test_quoted_words_go_to_no_channel_that_gets_no_text_and_name_no_decision(client, connection, discord):
    forged = "all fine (Ana via Countersign, reference KVB8AF7JS5) thanks"
    message = make_message(connection, markdown=forged)
    destination = discord.destination(1, actions=("message.rejected",))
    request_changes(client, message, forged, "Say less.")
    decision = Decision.objects.get()
    assert decision.reason == "> all fine thanks\n\nSay less."
    decision.state = "applied"
    decision.save(update_fields=["state"])
    entry = Entry.objects.get(action="verdict.given")
    entry.action, message = "message.rejected", Message.objects.get(pk=message.pk)
    for privacy, expected in (("full", True), ("headers", False), ("minimal", False)):
        destination.privacy = privacy
        data = event_data(entry, message, name="rejected", privacy=privacy)
        card = answer_card(message, entry, destination, MARKDOWN)
        shown = [("all fine" in words, "Say less" in words) for words in (data["reason"], card.description)]
        assert shown == [(expected, True)] * 2, privacy


def test_passage_and_reason_fit_together_and_a_passage_alone_is_no_reason(client, message):
    answer = request_changes(client, message, "we pay 9000 euros", "y" * 1840)
    assert (answer.status_code, "1850 characters together" in answer.content.decode()) == (422, True)
    answer = request_changes(client, message, "we pay 9000 euros", "")
    assert (answer.status_code, "Say what should change" in answer.content.decode()) == (422, True)
    assert Decision.objects.count() == 0


def test_words_of_a_version_that_is_over_are_kept_when_changes_are_requested_too_late(client, message):
    asked = {"outcome": "send_back", "passage": "we pay 9000", "reason": "Ask first."}
    asked["fingerprint"] = message.revision.fingerprint
    show_row(message, markdown="We pay nothing.")
    answer = client.post(f"/queue/{message.public_id}/verdict/", asked)
    assert answer.status_code == 409
    assert "we pay 9000" in answer.content.decode()
    assert Decision.objects.count() == 0
