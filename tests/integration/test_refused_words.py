"""What somebody typed for an act that is refused is in the ledger, and on the page that
is shown again.
"""

import re
from html import unescape

import pytest
from django.db.models.functions import Now

from approvals.decisions.by_rule import expire_due
from audit.models import Entry
from mirror.models import Message
from tests.factories import make_message
from tests.integration.deciding import decide, expires


def noted(action):
    """The details of the newest entry of a refused act."""
    return Entry.objects.with_details().filter(action=action).latest("pk").details


def fields_of(answer):
    """What the page's forms have in their larger fields."""
    found = re.findall(r"<textarea[^>]*>\s*(.*?)</textarea>", answer.text, re.DOTALL)
    return [unescape(text) for text in found]


@pytest.fixture
def message(connection):
    return make_message(connection)


@pytest.fixture
def path(message):
    return f"/queue/{message.public_id}/"


def test_reason_typed_when_the_message_had_just_expired_is_recorded_and_stays_in_a_field(
    message, path, reviewer, signed_in
):
    client = signed_in(reviewer)
    expires(seconds=-1)
    assert expire_due() == 1
    for outcome in ("reject", "send_back"):
        words = f"The sum is wrong: {outcome}"
        fields = {"outcome": outcome, "reason": words}
        fields["fingerprint"] = message.revision.fingerprint
        answer = client.post(f"{path}verdict/", fields)
        assert answer.status_code == 409
        assert words in fields_of(answer)
        details = noted("verdict.refused")
        assert (details["outcome"], details["reason"]) == (outcome, words)
        assert details["explanation"].startswith("This message expired at ")
    # Its audit trail tells it.
    assert words in client.get(f"/audit/trace/{message.public_id}/").text


def test_edited_text_of_a_message_that_expired_is_recorded_and_stays_in_its_form(
    path, reviewer, signed_in
):
    client = signed_in(reviewer)
    page = client.get(f"{path}edit/").text
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    del hidden["csrfmiddlewaretoken"]
    expires(seconds=-1)
    assert expire_due() == 1
    typed = {"to": "dana@northwind.example", "subject": "Refund", "do": "suggest"}
    typed |= {"markdown": "A long new text", "note": "The sum was missing"}
    answer = client.post(f"{path}edit/", hidden | typed)
    assert answer.status_code == 409
    assert fields_of(answer) == ["A long new text", "The sum was missing"]
    details = noted("verdict.refused")
    assert details["reason"] == "The sum was missing"
    assert details["suggestion"] == "A long new text"


def test_other_refused_acts_are_recorded_with_their_words(
    message, path, reviewer, auditor, signed_in
):
    client = signed_in(reviewer)
    decide(message, reviewer, "reject", "No.")
    message.decisions.update(may_have_left=True, state="applied")
    assert client.post(f"{path}undo/").status_code in (403, 409)
    assert noted("act.refused")["act"] == "undo"
    Message.objects.update(expires_at=Now())
    until = {"until": "2030-01-01T10:00", "reason": "Ben is back on Monday"}
    answer = client.post(f"{path}extend/", until)
    assert answer.status_code in (403, 409)
    details = noted("act.refused")
    assert (details["act"], details["reason"]) == ("extend", until["reason"])
    # Somebody who lost their role while they wrote.
    client = signed_in(auditor)
    for headers in ({}, {"HX-Request": "true"}):
        words = {"text": f"Ask Ben about it {len(headers)}"}
        answer = client.post(f"{path}comments/", words, headers=headers)
        assert answer.status_code == 403
        assert words["text"] in answer.text
        details = noted("act.refused")
        assert (details["act"], details["reason"]) == ("comment", words["text"])
