"""Decisions in Slack: signed, once, by a linked person, on the version that the card
showed, and only where the card shows all of the message.
"""

import hmac
import json
import re
import time
from itertools import count
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.utils import timezone

from alerts.channels.interactions import answer_interaction
from alerts.models import Delivery, Destination, Interaction, Route
from approvals.models import Claim, Decision, Verdict
from audit.models import Entry
from audit.trail.answers import answers_of
from people.models import ChatAccount
from tests.alerting import deliver
from tests.factories import change_row, make_message, show_row
from tests.ledger import latest_details
from tests.slack import CHANNEL, HOOK, TOKEN, slack

pytestmark = pytest.mark.usefixtures("plans_at_once")

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
ADDRESS = "/slack/interactions/"
TEAM, ANA, MALLORY = "T0123", "U0456", "U0666"
_numbers = count(1)


@pytest.fixture
def standin(settings):
    settings.SLACK_SIGNING_SECRET = SECRET
    with slack() as served:
        settings.OUTGOING_ALLOW = [served.url]
        yield served


@pytest.fixture
def channel(standin):
    made = Destination.objects.create(
        kind="slack",
        name="#reviews",
        url=standin.url + HOOK,
        secret=TOKEN,
        channel=CHANNEL,
        privacy="full",
    )
    Route.objects.create(destination=made, actions=["message.held"])
    return made


@pytest.fixture
def message(channel, connection):
    return posted(make_message(connection))


@pytest.fixture
def ana(reviewer):
    ChatAccount.objects.create(
        person=reviewer, service="slack", account_id=f"{TEAM}:{ANA}", name="ana"
    )
    return reviewer


def posted(message):
    """Post what is due, as if the pause between two posts were over."""
    for one in Delivery.objects.filter(state="due"):
        Destination.objects.update(waits_until=None)
        change_row(one, next_attempt_at=timezone.now())
        deliver(delivery_id=one.pk)
    return message


def buttons_of(standin):
    """Return the custom ids of the newest card's buttons, by their label."""
    *_, newest = standin.posts.values()
    [row] = [block for block in newest["blocks"] if block["type"] == "actions"]
    return {one["text"]["text"]: one.get("value", "") for one in row["elements"]}


def press(standin, label, *, by=ANA, card=None):
    """Return what Slack sends for a button of the newest card."""
    value = buttons_of(standin)[label]
    timestamp = card or list(standin.posts)[-1]
    return {
        "type": "block_actions",
        "trigger_id": f"{next(_numbers)}.333649436676.d8c1bb837935619ccad0f624c448ffb3",
        "api_app_id": "A02",
        "team": {"id": TEAM, "domain": "example"},
        "user": {"id": by, "username": "ana" if by == ANA else "mallory"},
        "channel": {"id": CHANNEL, "name": "reviews"},
        "container": {
            "type": "message",
            "message_ts": timestamp,
            "channel_id": CHANNEL,
        },
        "response_url": f"{standin.url}/actions/T0123/1/{by}",
        "actions": [
            {"action_id": label.lower(), "type": "button", "value": value}
            if value
            else {"action_id": "open", "type": "button"}
        ],
    }


def sent(content, *, secret=SECRET, at=None):
    """Send an interaction as Slack does; return the response."""
    body = urlencode({"payload": json.dumps(content)}).encode()
    stamp = str(int(time.time()) if at is None else at)
    signed = f"v0:{stamp}:".encode() + body
    headers = {
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": "v0="
        + hmac.digest(secret.encode(), signed, "sha256").hex(),
    }
    return Client(enforce_csrf_checks=True).post(
        ADDRESS, body, content_type="application/x-www-form-urlencoded", headers=headers
    )


def answered(standin, content):
    """Send an interaction, let the worker decide it, and return what it sent then."""
    before = len(standin.calls)
    response = sent(content)
    # Slack shows nothing for an empty answer; the private one comes later.
    assert (response.status_code, response.content) == (200, b"")
    row = Interaction.objects.order_by("pk").last()
    assert answer_interaction(interaction_id=row.pk) != "postponed"
    row.refresh_from_db()
    assert (row.token, row.options, row.answer) == ("", "", "")
    return standin.calls[before:]


def text_of(calls):
    """Return the text of a private answer."""
    [call] = calls
    assert call.path.startswith("/actions/")
    assert call.body["response_type"] == "ephemeral"
    assert call.body["replace_original"] is False
    return call.body["text"]


def test_approve_decides_for_the_linked_person_and_once(standin, ana, message):
    pressed = press(standin, "Approve")
    assert text_of(answered(standin, pressed)).startswith("Approved.")
    verdict = Verdict.objects.get()
    assert (verdict.person, verdict.outcome) == (ana, "approve")
    details = latest_details("verdict.given")
    assert details["slack_id"] == f"{TEAM}:{ANA}"
    assert details["interaction"] == pressed["trigger_id"]
    entries = list(Entry.objects.with_details().filter(message=message.public_id))
    told = str(answers_of(entries))
    assert "Slack signed who pressed" in told
    assert f"{TEAM}:{ANA}" in told
    # Sent again, as by somebody who recorded it, it does nothing.
    assert sent(pressed).status_code == 200
    assert Interaction.objects.count() == Decision.objects.count() == 1
    # Slack tells of the press of a link, too.
    assert sent(press(standin, "Open")).status_code == 200
    assert Interaction.objects.count() == 1


def test_reject_asks_for_the_reason_in_a_form_that_decides(standin, ana, message):
    pressed = press(standin, "Reject")
    [opened] = answered(standin, pressed)
    assert (opened.path, opened.token) == ("/api/views.open", TOKEN)
    assert opened.body["trigger_id"] == pressed["trigger_id"]
    assert not Verdict.objects.exists()
    view = opened.body["view"]
    [field] = view["blocks"]
    typed = {field["block_id"]: {field["element"]["action_id"]: {"value": "Too dear."}}}
    filled = {
        "type": "view_submission",
        "trigger_id": f"{next(_numbers)}.1.ab",
        "team": {"id": TEAM},
        "user": pressed["user"],
        "view": {
            "callback_id": view["callback_id"],
            "private_metadata": view["private_metadata"],
            "state": {"values": typed},
        },
    }
    assert text_of(answered(standin, filled)).startswith("Rejected.")
    assert Verdict.objects.get().reason == "Too dear."


def test_form_that_comes_too_late_asks_to_press_again(standin, ana, message):
    standin.next = [(200, {}, {"ok": False, "error": "expired_trigger_id"})]
    _, answer = answered(standin, press(standin, "Reject"))
    assert "Press the button again." in answer.body["text"]


def test_forged_stale_and_broken_requests_do_nothing(standin, ana, message, settings):
    pressed = press(standin, "Approve")
    now = int(time.time())
    assert sent(pressed, secret="another").status_code == 401
    assert sent(pressed, at=now - 301).status_code == 401
    assert Client().post(ADDRESS, {"payload": "{}"}).status_code == 401
    elsewhere = {**pressed, "response_url": "https://evil.example/actions/1"}
    for broken in (
        {},
        {"type": "shortcut"},
        {**pressed, "actions": []},
        {**pressed, "trigger_id": "\x00"},
        elsewhere,
    ):
        assert sent(broken).status_code == 400, broken
    assert not Interaction.objects.exists()
    settings.SLACK_SIGNING_SECRET = ""
    assert sent(pressed, secret="").status_code == 404


def test_stranger_gets_a_private_link_and_another_card_is_refused(
    standin, ana, reviewer, message, signed_in
):
    text = text_of(answered(standin, press(standin, "Approve", by=MALLORY)))
    path = re.search("/people/me/chat/[^|]+/", text)[0]
    assert latest_details("interaction.refused")["outcome"] == "approve"
    assert signed_in(reviewer).post(path).status_code == 302
    assert ChatAccount.objects.get(account_id=f"{TEAM}:{MALLORY}").person == reviewer
    other = press(standin, "Approve", card="1503435956.999999")
    assert text_of(answered(standin, other)).startswith("This is not the card")
    assert not Verdict.objects.exists()


def test_card_approves_only_where_it_shows_all_and_as_it_was(
    standin, ana, channel, connection
):
    full = posted(make_message(connection))
    approve = press(standin, "Approve")
    show_row(full, markdown="Another text.")
    assert "out of date" in text_of(answered(standin, approve))
    for more in (
        {"reply_to": "eve@elsewhere.example"},
        {"html_body": "<p>Other words</p>"},
        {"markdown": "x" * 1001},
        {"markdown": "![Pay 5 EUR](data:image/png;base64,aGk=)"},
        {"subject": "x" * 300},
        {"to_addresses": [f"{n}@northwind.example" for n in range(6)]},
    ):
        posted(make_message(connection, **more))
        assert "Approve" not in buttons_of(standin), more
    # The destination shows less meanwhile, and the next card has no such button.
    change_row(channel, privacy="headers")
    assert "does not show all" in text_of(
        answered(standin, {**approve, "trigger_id": "7.7.7"})
    )
    posted(make_message(connection))
    assert list(buttons_of(standin)) == ["Reject", "Claim", "Open"]
    assert text_of(answered(standin, press(standin, "Claim"))).startswith("You claimed")
    assert Claim.objects.get().person == ana
    assert not Verdict.objects.exists()
