"""Slack, by its documented protocol: a webhook and a bot, limits and refusals, and the
content of cards.
"""

import re
from datetime import UTC, datetime

import pytest
from django.db import connection as database
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from alerts.cards.markup import shortened
from alerts.cards.message import desk_link, message_card
from alerts.channels import channel_of
from alerts.channels.slack.format import Mrkdwn, card_body
from alerts.deliveries.planning import CARD_ACTIONS
from alerts.models import Card, Delivery, Destination, Route
from approvals.decisions.status import Status, StatusCode
from audit.models import EntryDetail
from tests.alerting import deliver
from tests.cards import facts_of
from tests.factories import make_message, rolled_back
from tests.integration.deciding import decide
from tests.ledger import latest_details
from tests.slack import CHANNEL, HOOK, TOKEN, controls_in, find_error, slack

REAL = f"https://hooks.slack.com{HOOK}"
SECRETS = ("tokenthatnobodymaysee", TOKEN)
HOSTILE = "<!channel> <@U012> <https://evil.example|click> & *bold* _it_ ~s~ `c` @here \u202e &lt;!here&gt;"


@pytest.fixture
def standin(settings):
    with slack() as served:
        settings.OUTGOING_ALLOW = [served.url]
        yield served


@pytest.fixture
def by_hook(standin):
    return make(standin)


@pytest.fixture
def by_bot(standin):
    return make(standin, secret=TOKEN, channel=CHANNEL)


def make(standin, **fields):
    values = {"kind": "slack", "name": "#reviews", "url": standin.url + HOOK, **fields}
    made = Destination.objects.create(**values)
    Route.objects.create(
        destination=made, actions=[*CARD_ACTIONS, "connection.failing"]
    )
    return made


def deliver_due():
    """Deliver what is due, as if Slack's pause between two posts were over."""
    Delivery.objects.filter(state="due").update(next_attempt_at=timezone.now())
    Destination.objects.update(waits_until=None)
    return [
        deliver(delivery_id=one.pk)
        for one in Delivery.objects.filter(state="due").order_by("pk")
    ]


def form(**fields):
    return {
        "kind": "slack",
        "name": "#reviews",
        "privacy": "headers",
        "events": ["email.held"],
        **fields,
    }


def test_card_by_the_bot_is_posted_once_and_edited_in_place(
    standin, by_bot, connection, reviewer
):
    message = make_message(connection)
    assert deliver_due() == ["delivered"]
    [(timestamp, shown)] = standin.posts.items()
    assert Card.objects.get().post_id == timestamp
    *_, actions, _ = shown["blocks"]
    assert actions["elements"][0]["url"].endswith(f"/approvals/{message.upstream_id}/")
    decide(message, reviewer)
    deliver_due()
    assert [call.path for call in standin.calls] == [
        "/api/chat.postMessage",
        "/api/chat.update",
    ]
    assert list(standin.posts) == [timestamp]
    assert "Approved" in standin.posts[timestamp]["blocks"][1]["text"]["text"]
    # Somebody deletes the card: it is not posted again.
    standin.posts.clear()
    Delivery.objects.update(state="due")
    assert deliver_due() == ["card gone", "failed"]
    assert standin.posts == {}


@pytest.mark.slow
def test_what_was_revoked_or_archived_is_switched_off_and_recorded(
    standin, by_hook, by_bot, connection
):
    make_message(connection)
    for error, destination, answer in (
        ("no_service", by_hook, (404, {}, "no_service")),
        *[
            (error, by_bot, (200, {}, {"ok": False, "error": error}))
            for error in ("is_archived", "restricted_action_read_only_channel")
        ],
    ):
        with rolled_back():
            Delivery.objects.exclude(destination=destination).delete()
            standin.next = [answer]
            assert deliver_due() == ["switched off"], error
            recorded = latest_details("destination.switched_off")
            assert error in recorded["explanation"]


@pytest.mark.slow
def test_failure_is_tried_again_and_a_refused_card_is_shortened(
    standin, by_bot, connection
):
    make_message(connection)
    standin.next = [(200, {}, {"ok": False, "error": "internal_error"})]
    assert deliver_due() == ["postponed"]
    standin.next = [(200, {}, {"ok": False, "error": "invalid_blocks"})]
    assert deliver_due() == ["delivered"]
    [short] = standin.posts.values()
    assert "actions" not in {one["type"] for one in short["blocks"]}
    # Slack would format the subject in it.
    assert short["mrkdwn"] is False
    for status in (401, 404, 410):
        make_message(connection)
        standin.next = [(status, {}, "<title>Not Found</title>")]
        assert deliver_due() == ["postponed"], status
        assert deliver_due() == ["delivered"]
    assert "Open the message on the desk." in str(short)


def test_colons_make_no_emoji_of_others_text():
    shown = Mrkdwn().literal(
        "parser.js:100:14 :wave::+1: at 10:30, see https://x.example"
    )
    assert not re.search(r":[\w+-]+:", shown)
    assert "at 10:30, see https://x.example" in shown


@given(
    st.one_of(
        st.just(HOSTILE),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
        st.just("<" * 9000),
    )
)
@pytest.mark.slow
def test_any_text_is_shown_literally_within_the_limits(text):
    at = datetime(2026, 3, 1, 9, tzinfo=UTC)
    facts = facts_of(
        upstream_id=text, subject=text, sender=text, recipients=[text] * 7, trigger={"discord_user": text},
        text=text, held_at=at, expires_at=at, files=[text], cc=[text],
        destination=Destination(privacy="full"), facts={"risk": text, "claimed_by": text},
    )  # fmt: skip
    link = desk_link(facts.message)
    card = message_card(facts, Status(StatusCode.HELD, "amber", text), Mrkdwn())
    body, short = (card_body(one, has_buttons=True) for one in (card, shortened(card)))
    for one in (body, short):
        assert find_error(one) == ""
        controls = {re.split("[|^]", control)[0] for control in controls_in(one)}
        assert controls <= {f"<{link}", "<!date"}
    first, _, _ = body["blocks"][1]["text"]["text"].partition("\n")
    assert not set("*_~`") & set(first.removeprefix("*Held.*"))


def test_address_and_token_are_stored_encrypted_and_never_come_out(
    standin, signed_in, admin, caplog
):
    client = signed_in(admin)
    fields = form(url=standin.url + HOOK, secret=TOKEN, channel=CHANNEL)
    client.post("/alerts/add/", fields)
    destination = Destination.objects.get(kind="slack", channel=CHANNEL)
    assert client.post(f"/alerts/{destination.pk}/test/").status_code == 302
    standin.next = [(200, {}, {"ok": False, "error": "invalid_auth", "echo": TOKEN})]
    assert client.post(f"/alerts/{destination.pk}/test/").status_code == 502
    # An empty field leaves it unchanged.
    client.post(f"/alerts/{destination.pk}/", form(name="#other", channel=CHANNEL))
    destination.refresh_from_db()
    assert destination.secret == TOKEN
    assert destination.tested_at is not None
    # The channel is no secret: an empty one was cleared.
    client.post(f"/alerts/{destination.pk}/", form(url=standin.url + HOOK, channel=""))
    destination.refresh_from_db()
    assert destination.channel == ""
    pages = [
        client.get("/alerts/"),
        client.get(f"/alerts/{destination.pk}/"),
        client.post(f"/alerts/{destination.pk}/", form(secret=TOKEN)),
    ]
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT row_to_json(alerts_destination)::text FROM alerts_destination"
        )
        rows = str(cursor.fetchall())
    seen = rows + str(list(EntryDetail.objects.values("fields")))
    seen += str([vars(line) for line in caplog.records])
    seen += "".join(page.text for page in pages)
    for secret in SECRETS:
        assert secret not in seen


WRONG = {
    "https://hooks.slack.com/services/T1/B1": "not a complete address",
    "http://hooks.slack.com/services/T1/B1/x": "start with https://",
    "https://hooks.slack.com.evil.example/services/T1/B1/x": "not an address of Slack",
    f"{REAL}?x=1": "question mark",
}


def test_only_slacks_own_host_or_an_allowed_origin_is_accepted(
    signed_in, admin, settings
):
    for url, words in WRONG.items():
        assert words in channel_of("slack").url_error(url), url
    assert channel_of("slack").url_error(REAL) == ""
    assert channel_of("slack").url_error(f"https://hooks.slack-gov.com{HOOK}") == ""
    # Allowed before, but not any more: nothing is posted there.
    settings.OUTGOING_ALLOW = []
    found = channel_of("slack").test(
        Destination(kind="slack", url=f"http://127.0.0.1:1{HOOK}"), within=2
    )
    assert "must start with https:" in found.sentence
    client = signed_in(admin)
    for fields, field in (
        ({}, "url"), ({"secret": TOKEN}, "channel"), ({"secret": "xoxb", "channel": CHANNEL}, "secret"),
    ):  # fmt: skip
        answer = client.post("/alerts/add/", form(**fields))
        assert answer.status_code == 422, fields
        assert f'id="id_{field}_error"' in answer.text, fields
