"""Alert destinations: who may add, test, change and remove one, its errors, and that
its address stays secret.
"""

import pytest
from django.db import connection as db

from alerts.channels import channel_of
from alerts.destinations import commands as trying
from alerts.models import Card, Delivery, Destination, Digest, Route
from audit.models import Entry, EntryDetail
from audit.recording import record
from common.actors import worker
from mirror.models import Message
from tests.alerting import deliver, make_message
from tests.factories import make_connection

TOKEN = "a-token_that_nobody_may_see"
NUMBER = "1180000000000000427"
PATH = f"/api/webhooks/{NUMBER}/{TOKEN}"
DISCORD = f"https://discord.com{PATH}"


def form(url=DISCORD, **fields):
    return {
        "name": "#approvals",
        "url": url,
        "privacy": "headers",
        "events": ["email.held"],
        **fields,
    }


@pytest.fixture
def destination(discord):
    made = Destination.objects.create(name="#approvals", url=discord.url + PATH)
    Route.objects.create(destination=made, actions=["message.held"])
    return made


def changed(destination, **fields):
    """Update the row of a destination."""
    Destination.objects.filter(pk=destination.pk).update(**fields)
    destination.refresh_from_db()


def test_destination_is_added_with_its_kind_and_event_samples(
    signed_in, admin, discord
):
    other = make_connection("other")
    make_connection("third")
    answer = signed_in(admin).post(
        "/alerts/add/?next=/setup/",
        form(
            discord.url + PATH,
            events=["email.held", "email.failed"],
            connections=[str(other.pk)],
            next="/setup/",
        ),
    )
    added = Destination.objects.get()
    assert answer.status_code == 302
    assert answer["Location"] == f"/alerts/?next=%2Fsetup%2F#destination-{added.pk}"
    assert added.name == "#approvals"
    assert added.privacy == "headers"
    assert added.url == discord.url + PATH
    [route] = added.routes.all()
    assert route.connection == other
    assert route.actions == ["message.held", "message.failed"]
    assert Entry.objects.of_action("destination.added").count() == 1


def test_address_is_write_only(signed_in, admin, discord, caplog):
    client = signed_in(admin)
    client.post("/alerts/add/", form(discord.url + PATH))
    key = Destination.objects.get().pk
    client.post(f"/alerts/{key}/test/")
    pages = [
        client.get("/alerts/"),
        client.post(f"/alerts/{key}/", form("not one")),
        client.get("/audit/"),
    ]
    assert pages[1].status_code == 422
    assert all(TOKEN.encode() not in page.content for page in pages)
    assert b"0427/\xe2\x80\xa2" in pages[0].content
    assert TOKEN not in str([vars(line) for line in caplog.records])
    assert TOKEN not in str(list(EntryDetail.objects.values("fields")))
    with db.cursor() as cursor:
        cursor.execute("SELECT url FROM alerts_destination")
        assert TOKEN not in str(cursor.fetchall())


WRONG = {
    "discord.com/api/webhooks/1/x": "not a complete address",
    "https://discord.com/channels/1/2": "address of a channel",
    "https://discord.com/api/webhooks/118": "is incomplete",
    f"{DISCORD}?wait=true": "Remove everything after the question mark",
    f"http://discord.com{PATH}": "start with https://",
    f"https://discord.com:8443{PATH}": "have no port",
    f"https://discord.com.evil.example{PATH}": "not a Discord webhook address",
    f"https://discord.com@evil.example{PATH}": "a user name or a #",
    f"https://disc\u043erd.com{PATH}": "invalid character",
    "https://discord.com/api/webhooks/1/x\\@evil.example": "invalid character",
    "https://discord.com/api/webhooks/1/../../x": "not the address of a webhook",
    "http://[::1": "not a complete address",
    f"http://10.0.0.5:8081{PATH}": "not a Discord webhook address",
    "http://10.0.0.5:8080/admin/": "not the address of a webhook",
}


def test_only_webhook_addresses_at_discord_or_an_allowed_origin_are_accepted(settings):
    settings.OUTGOING_ALLOW = ["http://10.0.0.5:8080"]
    channel = channel_of("discord_webhook")
    for url, words in WRONG.items():
        assert words in channel.url_error(url), url
    for host in ("discord.com", "canary.discord.com"):
        url = f"https://{host}{PATH}"
        assert channel.url_error(url) == ""
        assert channel.url_error(f"{url}?thread_id=12") == ""
        assert TOKEN not in channel.address(Destination(url=url))
    assert channel.url_error(f"http://10.0.0.5:8080{PATH}") == ""


def test_test_is_posted_without_mentions_and_remembered(
    signed_in, admin, discord, destination
):
    client = signed_in(admin)
    answer = client.post(f"/alerts/{destination.pk}/test/", {"next": "/setup/"})
    assert (
        answer["Location"] == f"/alerts/?next=%2Fsetup%2F#destination-{destination.pk}"
    )
    [call] = discord.calls
    assert call.method == "POST"
    assert call.path == f"{PATH}?wait=true"
    assert call.body["allowed_mentions"] == {"parse": []}
    assert Destination.objects.proved().get() == destination
    assert Destination.objects.get().posts_in == f"9{NUMBER}"
    assert Entry.objects.of_action("destination.tested").count() == 1
    # A test that does not arrive shows the reason on the destination's page.
    discord.next[NUMBER] = [(403, {}, {})]
    answer = client.post(f"/alerts/{destination.pk}/test/")
    assert answer.status_code == 502
    assert "does not let this webhook post" in answer.text


@pytest.mark.slow
def test_test_that_does_not_arrive_says_why_and_what_to_do(
    admin, discord, destination, settings, monkeypatch
):
    def tried():
        found = trying.test_destination(
            destination_id=destination.pk, actor=admin.actor(surface="web")
        )
        assert not found.accepted
        return found.sentence

    for status, body, says in (
        (404, {"code": 10015}, "was deleted, or the address is incomplete"),
        (429, {"retry_after": 7.2}, "asks to wait 8 seconds"),
        (500, {}, "it has a problem"),
        (302, {}, "did not come from Discord"),
        (200, "hello", "did not come from Discord"),
    ):
        discord.next[NUMBER] = [(status, {}, body)]
        assert says in tried()
    # A failed test does not switch the destination off, and its result is in the
    # ledger.
    assert not Destination.objects.proved().exists()
    assert Destination.objects.get().switched_off_at is None
    assert Entry.objects.of_action("destination.tested").count() == 5

    asked = len(discord.calls)
    settings.OUTGOING_ALLOW = []
    assert "not a Discord webhook address" in tried()
    assert len(discord.calls) == asked
    settings.OUTGOING_ALLOW = [discord.url, "http://127.0.0.1:1"]
    discord.slow[NUMBER] = 3.0
    monkeypatch.setattr(trying, "TEST_SECONDS", 0.3)
    assert (
        "Discord did not answer in time. Check that this server can reach discord.com"
        in tried()
    )
    changed(destination, url=f"http://127.0.0.1:1{PATH}")
    assert "Discord could not be reached. Check that" in tried()


def test_change_without_an_address_preserves_address_and_test_and_redirects_to_the_desk(
    signed_in, admin, discord, destination
):
    changed(destination, tested_at="2026-11-20T10:00Z")
    client = signed_in(admin)
    client.post(f"/alerts/{destination.pk}/", form("", name="#ops", privacy="minimal"))
    destination.refresh_from_db()
    assert destination.name == "#ops"
    assert destination.privacy == "minimal"
    assert destination.url == discord.url + PATH
    assert destination.tested_at is not None
    # Routes decide which events it gets.
    assert [route.actions for route in destination.routes.all()] == [["message.held"]]
    # The form redirects only to pages of the desk.
    for evil in ("https://evil.example/", "/\\evil.example"):
        answer = client.post(f"/alerts/{destination.pk}/on/", {"next": evil})
        assert answer["Location"] == f"/alerts/#destination-{destination.pk}", evil


def test_changed_address_must_be_tested_again_and_old_posts_are_left_alone(
    signed_in, admin, connection, discord, destination
):
    changed(
        destination,
        tested_at="2026-11-20T10:00Z",
        failures=3,
        waits_until="2099-01-01T00:00Z",
        posts_in="91",
    )
    held = make_message(connection)
    decided = make_message(connection)
    Message.objects.filter(pk=decided.pk).update(state="approved")
    Card.objects.create(destination=destination, about=f"connection/{connection.pk}")
    Card.objects.update(discord_message_id="111")
    digest = Digest.objects.create(destination=destination)
    signed_in(admin).post(f"/alerts/{destination.pk}/", form(f"{discord.url}{PATH}x"))
    destination.refresh_from_db()
    digest.refresh_from_db()
    assert destination.tested_at is None
    assert destination.failures == 0
    assert destination.waits_until is None
    assert destination.posts_in == ""
    assert digest.removed
    # Waiting messages and connections are posted at the new address on their next
    # event.
    cards = {
        (one.message, one.removed, one.discord_message_id) for one in Card.objects.all()
    }
    assert cards == {(held, False, ""), (decided, True, "111"), (None, False, "")}
    record("claim.taken", actor=worker("test"), message=held.public_id)
    assert deliver(delivery_id=Delivery.objects.get(message=held).pk) == "delivered"
    [call] = discord.calls
    assert call.method == "POST"
    assert call.path == f"{PATH}x?wait=true"


def test_removed_destination_gets_no_deliveries_and_its_address_is_deleted(
    signed_in, admin, connection, discord, destination
):
    make_message(connection)
    delivery = Delivery.objects.get()
    client = signed_in(admin)
    client.post(f"/alerts/{destination.pk}/remove/")
    assert deliver(delivery_id=delivery.pk) == "gone"
    make_message(connection)
    assert discord.calls == []
    assert Delivery.objects.count() == 1
    destination.refresh_from_db()
    assert destination.url == ""
    assert b"No destinations yet" in client.get("/alerts/").content
    assert client.get(f"/alerts/{destination.pk}/").status_code == 404
    assert not Destination.objects.switched_off().exists()
    assert Entry.objects.of_action("destination.removed").count() == 1
