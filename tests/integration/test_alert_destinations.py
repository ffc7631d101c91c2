"""Destinations of alerts: who may add, test, change and remove one, what is wrong in words, and never its address."""

import threading
from datetime import timedelta

import pytest
from django.db import connection as db
from django.db.models.functions import Now

from alerts.missed import plan_missed
from alerts.models import Card, Delivery, Destination, Digest, Route
from alerts.places.addresses import masked, problem_with
from alerts.planning import CARD_ACTIONS
from alerts.sending.deliver import deliver_card
from approvals.models import Message
from audit.models import Entry, EntryDetail
from audit.recording import record
from people.actors import worker
from tests.factories import event_body, make_connection, make_message, make_person
from tests.standin import multimail

pytestmark = pytest.mark.django_db

TOKEN = "a-token_that_nobody_may_see"
PATH = f"/api/webhooks/1180000000000000427/{TOKEN}"
DISCORD = f"https://discord.com{PATH}"


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr("alerts.planning.CONTENT_PAUSE", timedelta(0))


@pytest.fixture
def discord(settings):
    with multimail() as standin:
        settings.OUTGOING_ALLOW = [standin.url]
        standin.answers[PATH] = (200, {"id": "111"})
        standin.answers[f"{PATH}/messages/111"] = (200, {"id": "111"})
        yield standin


def form(url=DISCORD, **fields):
    return {"name": "#approvals", "url": url, "privacy": "headers", "events": ["email.held"], **fields}


def make_destination(discord, *, actions=("message.held",), **fields):
    destination = Destination.objects.create(name="#approvals", url=discord.url + PATH, **fields)
    Route.objects.create(destination=destination, actions=list(actions))
    return destination


def ledger(action):
    return list(Entry.objects.filter(action=action))


def test_destination_is_added_with_what_it_is_told_of(signed_in, admin, discord):
    other = make_connection("other")
    make_connection("third")
    answer = signed_in(admin).post(
        "/alerts/add/?next=/setup/",
        form(discord.url + PATH, events=["email.held", "email.failed"], connections=[str(other.pk)], next="/setup/"),
    )
    added = Destination.objects.get()
    assert answer.status_code == 302
    assert answer["Location"] == f"/alerts/?next=%2Fsetup%2F#destination-{added.pk}"
    assert (added.name, added.privacy, added.url) == ("#approvals", "headers", discord.url + PATH)
    assert [(route.connection, route.actions) for route in added.routes.all()] == [
        (other, ["message.held", "message.failed"])
    ]
    assert len(ledger("destination.added")) == 1


def test_address_goes_in_and_never_comes_out(signed_in, admin, discord, caplog):
    client = signed_in(admin)
    client.post("/alerts/add/", form(discord.url + PATH))
    key = Destination.objects.get().pk
    pages = [client.get("/alerts/"), client.get(f"/alerts/{key}/"), client.post(f"/alerts/{key}/", form("not one"))]
    pages += [client.post(f"/alerts/{key}/test/"), client.get("/audit/"), client.get("/alerts/")]
    assert all(TOKEN.encode() not in page.content for page in pages)
    assert b"0427/\xe2\x80\xa2" in pages[0].content
    assert TOKEN not in str([vars(line) for line in caplog.records])
    assert TOKEN not in str(list(EntryDetail.objects.values("fields")))
    with db.cursor() as cursor:
        cursor.execute("SELECT url FROM alerts_destination")
        assert TOKEN not in str(cursor.fetchall())


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "Put in the address"),
        ("discord.com/api/webhooks/1/x", "not a whole address"),
        ("https://discord.com/channels/1/2", "address of a channel"),
        ("https://discord.com/api/webhooks/118", "ends too early"),
        (f"{DISCORD}/slack", "Leave out what stands behind the token"),
        (f"{DISCORD}?wait=true", "Leave out what stands behind the question mark"),
        (f"http://discord.com{PATH}", "begin with https://"),
        (f"https://discord.com:8443{PATH}", "name no port"),
        (f"https://discord.com.evil.example{PATH}", "not an address of Discord"),
        (f"https://evil.example{PATH}", "not an address of Discord"),
        (f"https://discord.com@evil.example{PATH}", "a name or a #"),
        (f"https://evil.example#discord.com{PATH}", "a name or a #"),
        (f"https://disc\u043erd.com{PATH}", "no webhook has"),
        ("https://discord.com/api/webhooks/1/x\\@evil.example", "no webhook has"),
        ("https://discord.com/api/webhooks/1/../../x", "not the address of a webhook"),
        ("http://[::1", "not an address"),
        ("https://127.0.0.1/api/webhooks/1/x", "not an address of Discord"),
    ],
)  # fmt: skip
def test_wrong_address_is_refused_in_words_at_its_field(signed_in, admin, url, says):
    answer = signed_in(admin).post("/alerts/add/", form(url, name="#typed"))
    page = answer.content.decode()
    assert answer.status_code == 422
    assert says in page.split('id="url-problem"')[1].split("</p>")[0].replace("&#x27;", "'")
    assert 'aria-invalid="true"' in page
    assert 'value="#typed"' in page
    assert not Destination.objects.exists()


@pytest.mark.parametrize("host", ["discord.com", "discordapp.com", "ptb.discord.com", "canary.discord.com"])
def test_every_host_of_discord_is_taken(host):
    assert problem_with(f"https://{host}{PATH}") == ""
    assert problem_with(f"https://{host}{PATH}?thread_id=12") == ""
    assert TOKEN not in masked(f"https://{host}{PATH}")


def test_allowed_origin_is_held_to_the_same_path(settings):
    settings.OUTGOING_ALLOW = ["http://10.0.0.5:8080"]
    assert problem_with(f"http://10.0.0.5:8080{PATH}") == ""
    assert problem_with(f"http://10.0.0.5:8081{PATH}") != ""
    assert problem_with("http://10.0.0.5:8080/admin/") != ""


@pytest.mark.parametrize("missing", ["name", "privacy", "events"])
def test_field_that_is_missing_is_told_at_its_field(signed_in, admin, missing):
    answer = signed_in(admin).post("/alerts/add/", form(**{missing: ""}))
    assert answer.status_code == 422
    assert f'id="{missing}-problem"'.encode() in answer.content
    assert TOKEN.encode() not in answer.content


@pytest.mark.parametrize("where", ["nowhere", "reviewer", "one connection"])
@pytest.mark.parametrize("path", ["add/", "{}/", "{}/test/", "{}/on/", "{}/remove/"])
def test_only_an_admin_of_everything_may(signed_in, connection, discord, path, where):
    role = {"nowhere": {}, "reviewer": {"role": "reviewer"}}.get(where, {"role": "admin", "connection": connection})
    person = make_person("x@yourteam.example", "X", **role)
    destination = make_destination(discord, switched_off_at="2026-11-20T10:00Z")
    answer = signed_in(person).post(f"/alerts/{path.format(destination.pk)}", form(discord.url + PATH))
    assert answer.status_code == 403
    assert b"Only an admin of everything" in answer.content
    assert Destination.objects.get() == destination
    assert Destination.objects.get().switched_off_at is not None
    assert discord.calls == []
    assert not Entry.objects.filter(action__startswith="destination.").exists()


@pytest.mark.parametrize("path", ["add/", "{}/"])
def test_who_signed_in_long_ago_is_asked_first_and_nothing_is_set(signed_in, admin, discord, path):
    destination = make_destination(discord)
    client = signed_in(admin, minutes=11)
    for answer in (client.get(f"/alerts/{path.format(destination.pk)}"),
                   client.post(f"/alerts/{path.format(destination.pk)}", form(DISCORD))):  # fmt: skip
        assert answer.status_code == 302
        assert "reauthenticate" in answer["Location"]
    assert [one.url for one in Destination.objects.all()] == [discord.url + PATH]
    assert TOKEN not in str(dict(client.session))


def test_test_is_posted_without_mentions_and_remembered(signed_in, admin, discord):
    destination = make_destination(discord)
    answer = signed_in(admin).post(f"/alerts/{destination.pk}/test/", {"next": "/setup/"})
    assert answer["Location"] == f"/alerts/?next=%2Fsetup%2F#destination-{destination.pk}"
    (method, path, body), = discord.calls  # fmt: skip
    assert (method, path) == ("POST", f"{PATH}?wait=true")
    assert body["allowed_mentions"] == {"parse": []}
    assert Destination.objects.proved().get() == destination
    assert len(ledger("destination.tested")) == 1


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (404, {"code": 10015}, "was deleted, or the address is not whole"),
        (401, {}, "does not accept the token"),
        (403, {}, "does not let this webhook post"),
        (400, {"code": 50035}, "did not accept the message"),
        (429, {"retry_after": 7.2}, "asks to wait 8 seconds"),
        (500, {}, "something is wrong on its side"),
        (302, {}, "as Discord never does"),
        (200, b"<html>hello</html>", "not as Discord does"),
    ],
)
def test_test_that_does_not_arrive_says_why_and_what_to_do(signed_in, admin, discord, status, body, says):
    destination = make_destination(discord)
    discord.answers[PATH] = (status, body)
    answer = signed_in(admin).post(f"/alerts/{destination.pk}/test/")
    assert answer.status_code == 502
    assert says in answer.content.decode()
    assert not Destination.objects.proved().exists()
    # A test is a test: it switches nothing off, and the ledger keeps what came of it.
    assert Destination.objects.get().switched_off_at is None
    assert len(ledger("destination.tested")) == 1


def test_test_of_what_does_not_answer_ends_in_time_and_says_so(signed_in, admin, discord, monkeypatch):
    monkeypatch.setattr("alerts.places.trying.TEST_SECONDS", 0.3)
    destination, over = make_destination(discord), threading.Event()
    discord.meanwhile["POST"] = lambda: over.wait(20)
    answer = signed_in(admin).post(f"/alerts/{destination.pk}/test/")
    over.set()
    assert answer.status_code == 502
    assert "Discord did not answer in time. Look whether this machine reaches discord.com" in answer.content.decode()


def test_test_of_what_nobody_listens_at_says_so(signed_in, admin, discord, settings):
    settings.OUTGOING_ALLOW = ["http://127.0.0.1:1"]
    destination = Destination.objects.create(name="#approvals", url=f"http://127.0.0.1:1{PATH}")
    answer = signed_in(admin).post(f"/alerts/{destination.pk}/test/")
    assert "Discord could not be reached. Look whether" in answer.content.decode()


def test_address_that_is_no_longer_allowed_is_not_posted_to(signed_in, admin, discord, settings):
    destination = make_destination(discord)
    settings.OUTGOING_ALLOW = []
    answer = signed_in(admin).post(f"/alerts/{destination.pk}/test/")
    assert "not an address of Discord" in answer.content.decode()
    assert discord.calls == []


def test_change_without_an_address_keeps_it_and_its_test(signed_in, admin, discord):
    destination = make_destination(discord, tested_at="2026-11-20T10:00Z")
    signed_in(admin).post(f"/alerts/{destination.pk}/", form("", name="#ops", privacy="minimal"))
    destination.refresh_from_db()
    assert (destination.name, destination.privacy, destination.url) == ("#ops", "minimal", discord.url + PATH)
    assert destination.tested_at is not None
    # What it is told of is set by its routes, one by one.
    assert [route.actions for route in destination.routes.all()] == [["message.held"]]


def test_another_address_has_to_be_tested_anew_and_old_posts_are_left_alone(signed_in, admin, connection, discord):
    destination = make_destination(discord, tested_at="2026-11-20T10:00Z", failures=3, waits_until="2099-01-01T00:00Z")
    held, decided = make_message(connection), make_message(connection)
    Message.objects.filter(pk=decided.pk).update(state="approved")
    Card.objects.create(destination=destination, about=f"connection/{connection.pk}")
    Card.objects.update(discord_message_id="111")
    digest = Digest.objects.create(destination=destination)
    signed_in(admin).post(f"/alerts/{destination.pk}/", form(f"{discord.url}{PATH}x"))
    destination.refresh_from_db()
    digest.refresh_from_db()
    assert (destination.tested_at, destination.failures, destination.waits_until) == (None, 0, None)
    assert digest.removed
    # What still waits is posted at the new address when something happens to it, and so is what a connection does.
    cards = {(one.message, one.removed, one.discord_message_id) for one in Card.objects.all()}
    assert cards == {(held, False, ""), (decided, True, "111"), (None, False, "")}
    discord.answers[f"{PATH}x"] = (200, {"id": "222"})
    record("claim.taken", actor=worker("test"), connection=connection.pk, message=held.public_id)
    assert deliver_card(delivery_id=Delivery.objects.get(message=held).pk) == "delivered"
    assert Card.objects.get(message=held).discord_message_id == "222"


def test_switched_off_destination_is_switched_on_again(signed_in, admin, discord):
    destination = make_destination(discord, switched_off_at="2026-11-20T10:00Z", switched_off_because="404")
    client = signed_in(admin)
    client.post(f"/alerts/{destination.pk}/on/")
    client.post(f"/alerts/{destination.pk}/on/")
    destination.refresh_from_db()
    assert (destination.switched_off_at, destination.switched_off_because) == (None, "")
    assert len(ledger("destination.switched_on")) == 1


def test_removed_destination_is_told_nothing_and_its_address_is_forgotten(signed_in, admin, connection, discord):
    destination = make_destination(discord)
    make_message(connection)
    delivery = Delivery.objects.get()
    client = signed_in(admin)
    client.post(f"/alerts/{destination.pk}/remove/")
    assert deliver_card(delivery_id=delivery.pk) == "gone"
    make_message(connection)
    assert (discord.calls, Delivery.objects.count()) == ([], 1)
    destination.refresh_from_db()
    assert destination.url == ""
    assert b"Nobody is told" in client.get("/alerts/").content
    assert client.get(f"/alerts/{destination.pk}/").status_code == 404
    assert not Destination.objects.switched_off().exists()
    assert len(ledger("destination.removed")) == 1


def test_every_act_turns_a_card_that_is_there_whatever_its_route_says(connection, discord):
    make_destination(discord)
    message = make_message(connection)
    Delivery.objects.update(state="delivered")
    for action in CARD_ACTIONS:
        Delivery.objects.update(state="delivered")
        before = Delivery.objects.count()
        record(action, actor=worker("test"), connection=connection.pk, message=message.public_id)
        assert Delivery.objects.count() == before + 1, action


def test_act_that_no_route_names_makes_no_card(client, connection, discord):
    make_destination(discord, actions=["message.failed"])
    message = make_message(connection)
    record("decision.recorded", actor=worker("test"), connection=connection.pk, message=message.public_id)
    assert not Card.objects.exists()
    body = event_body("message.failed", email_id=message.upstream_id)
    record("message.failed", actor=worker("test"), connection=connection.pk, message=message.public_id)
    assert (Card.objects.count(), bool(body)) == (1, True)


def test_missed_act_that_only_turns_is_planned_by_the_sweep_while_there_is_a_card(connection, discord, monkeypatch):
    monkeypatch.setattr("alerts.missed.PATIENCE", timedelta(0))
    make_destination(discord)
    make_message(connection)
    Route.objects.update(actions=["message.failed"])
    Delivery.objects.all().delete()
    assert plan_missed() == 1
    assert plan_missed() == 0
    Card.objects.all().delete()
    assert plan_missed() == 0


def test_card_at_a_place_that_is_switched_off_is_left_as_it_is(connection, discord):
    destination = make_destination(discord)
    message = make_message(connection)
    Delivery.objects.all().delete()
    Destination.objects.filter(pk=destination.pk).update(switched_off_at=Now())
    record("decision.recorded", actor=worker("test"), connection=connection.pk, message=message.public_id)
    assert not Delivery.objects.exists()


@pytest.mark.parametrize(("privacy", "is_told"), [("full", True), ("headers", False), ("minimal", False)])
def test_letter_itself_is_told_at_the_fullest_level_alone(connection, discord, privacy, is_told):
    make_destination(discord, privacy=privacy)
    make_message(connection, markdown="Hello [Dana](https://evil.example) @everyone")
    deliver_card(delivery_id=Delivery.objects.get().pk)
    told = str(discord.calls[-1][2])
    assert ("evil" in told) is is_told
    assert "](" not in told.replace("\\", "").split("Letter")[-1].split("Waiting")[0] or is_told
    assert "(https://evil" not in told


def test_page_shows_each_level_by_the_card_that_discord_would_get(signed_in, admin):
    page = signed_in(admin).get("/alerts/add/").content.decode()
    minimal, headers, full = page.split('class="discord-card amber"')[1:4]
    assert "Your refund" not in minimal
    assert "dana@" not in minimal
    assert "Your refund" in headers
    assert "84 euros" not in headers
    assert "84 euros" in full


def test_reviewer_sees_where_alerts_go_and_no_buttons(signed_in, reviewer, discord):
    make_destination(discord)
    page = signed_in(reviewer).get("/alerts/").content.decode()
    assert "#approvals" in page
    assert "Send a test" not in page
    assert "/alerts/add/" not in page


def test_next_leads_to_pages_of_the_desk_alone(signed_in, admin):
    client = signed_in(admin)
    assert b'href="/setup/"' in client.get("/alerts/?next=/setup/").content
    for evil in ("https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"):
        assert b"evil" not in client.get("/alerts/", {"next": evil}).content
        assert b"alert(1)" not in client.get("/alerts/add/", {"next": evil}).content
