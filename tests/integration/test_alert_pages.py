"""Pages of alerts beyond one webhook: places of every kind, routes with their preview, and the log of deliveries."""

import html
import json
import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection as db
from django.db import transaction
from django.utils import timezone

from alerts.events import EVENTS, REFUSED
from alerts.missed import plan_missed
from alerts.models import Delivery, Destination, Route
from alerts.places.routes import Act, Wanted, newest_acts, would_go
from alerts.places.standing import standing
from alerts.sending.again import NotSentAgain, send_again
from alerts.sending.deliver import deliver_card
from approvals.models import Mailbox, Message
from audit.models import Entry
from audit.recording import record
from people.actors import worker
from tests.factories import make_connection, make_message, make_person
from tests.integration.deciding import waiting_for_a_lock
from tests.standin import multimail

pytestmark = pytest.mark.django_db

HOOK = "https://discord.com/api/webhooks/1180000000000000427/a-token"
ENDPOINT = "https://hooks.yourteam.example/a-secret-path"


def form(kind, **fields):
    return {"kind": kind, "name": "#ops", "privacy": "headers", "events": ["email.held"], **fields}


def make_place(**fields):
    return Destination.objects.create(**{"name": "Ours", "kind": "signed_webhook", "url": ENDPOINT, **fields})


def given_up(place, message=None, **fields):
    of = {"kind": "event", "action": "message.held", "state": "failed", **fields}
    return Delivery.objects.create(destination=place, message=message, **of)


def test_channel_of_the_bot_is_added_by_its_id_or_its_address(signed_in, admin, settings):
    settings.DISCORD_BOT_TOKEN = ""
    client = signed_in(admin)
    for typed in ("1180000000000000555", "https://discord.com/channels/1/1180000000000000555"):
        assert client.post("/alerts/add/", form("discord_bot", channel=typed)).status_code == 302
    assert {(one.kind, one.channel, one.url) for one in Destination.objects.all()} == {
        ("discord_bot", "1180000000000000555", "")
    }
    assert b"DISCORD_BOT_TOKEN is not set" in client.get("/alerts/").content
    answer = client.post("/alerts/add/", form("discord_bot", channel="#ops"))
    assert (answer.status_code, b'id="channel-problem"' in answer.content) == (422, True)


@pytest.mark.parametrize(("kind", "url"), [("inngest", "https://inn.gs/e/an-event-key"), ("signed_webhook", ENDPOINT)])
def test_program_is_added_and_its_address_is_never_shown(signed_in, admin, kind, url):
    client = signed_in(admin)
    wrong = client.post("/alerts/add/", form(kind, url=HOOK))
    assert (wrong.status_code, b'id="url-problem"' in wrong.content) == (422, True)
    client.post("/alerts/add/", form(kind, url=url))
    key = Destination.objects.get().pk
    for path in ("/alerts/", f"/alerts/{key}/", "/audit/"):
        page = client.get(path).content.decode()
        assert "a-secret-path" not in page
        assert "an-event-key" not in page


def test_secret_is_shown_once_and_changed_with_an_overlap(signed_in, admin):
    client = signed_in(admin)
    answer = client.post("/alerts/add/", form("signed_webhook", url=ENDPOINT))
    first = re.search(r"whsec_[\w+/=]+", answer.content.decode())[0]
    assert answer["Cache-Control"] == "no-store"
    place = Destination.objects.get()
    assert place.secret == first
    answer = client.post(f"/alerts/{place.pk}/secret/")
    place.refresh_from_db()
    assert place.secret in answer.content.decode()
    assert place.secret_before == first
    # A third would put one out that the receiver may still go by; one that leaked goes at once.
    answer = client.post(f"/alerts/{place.pk}/secret/")
    assert answer.status_code == 422
    # Its form still saves the destination, and is not about the secret.
    assert f'<form class="stack wide" method="post" action="/alerts/{place.pk}/">' in answer.content.decode()
    client.post(f"/alerts/{place.pk}/secret/", {"leaked": "yes"})
    place.refresh_from_db()
    assert place.secret_before == ""
    for path in ("/alerts/", f"/alerts/{place.pk}/", "/audit/"):
        assert b"whsec_" not in client.get(path).content


@pytest.mark.parametrize("other", ["support", "#support", " Support ", "##SUPPORT"])
def test_channel_is_answered_by_one_place_alone_however_it_is_spelled(signed_in, admin, other):
    client = signed_in(admin)
    client.post("/alerts/add/", form("discord_webhook", url=HOOK, answers_channel="# Support", events=[]))
    assert Destination.objects.get().answers_channel == "Support"
    answer = client.post("/alerts/add/", form("discord_bot", channel="12345", answers_channel=other))
    assert (answer.status_code, b'id="answers-problem"' in answer.content) == (422, True)
    assert f"#ops answers what began in {other.strip(' #')} already" in answer.content.decode()
    client.post("/alerts/add/", form("discord_bot", channel="12345", name="Second"))
    second = Destination.objects.get(name="Second")
    path, changed = f"/alerts/{second.pk}/", form("", name="Second", channel="12345", answers_channel=other)
    assert client.post(path, changed).status_code == 422
    client.post(f"/alerts/{Destination.objects.exclude(pk=second.pk).get().pk}/remove/")
    assert client.post(path, changed).status_code == 302


def test_program_answers_no_channel(signed_in, admin):
    answer = signed_in(admin).post("/alerts/add/", form("signed_webhook", url=ENDPOINT, answers_channel="sales"))
    assert b"Only a place in Discord" in answer.content
    assert not Destination.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_that_take_a_channel_at_once_one_is_told_so(signed_in, admin):
    client, taken, wait = signed_in(admin), threading.Event(), threading.Event()

    def first():
        with transaction.atomic():
            make_place(name="First", kind="discord_webhook", url=HOOK, answers_channel="support")
            taken.set()
            wait.wait(30)
        db.close()

    def second():
        found.append(client.post("/alerts/add/", form("discord_webhook", url=HOOK, answers_channel="#Support")))
        db.close()

    found = []
    threads = [threading.Thread(target=one) for one in (first, second)]
    threads[0].start()
    taken.wait(30)
    threads[1].start()
    waiting_for_a_lock(db)
    wait.set()
    for thread in threads:
        thread.join(30)
    assert found[0].status_code == 422
    assert "First answers what began in Support already" in found[0].content.decode()
    assert Destination.objects.get().name == "First"


@pytest.mark.parametrize("spelled", ["support desk", "#Support-Desk", " support  desk", "1180000000000000555"])
def test_answer_is_planned_and_missed_alike_however_a_channel_is_spelled(connection, monkeypatch, spelled):
    monkeypatch.setattr("alerts.missed.PATIENCE", timedelta(0))
    key = "discord_channel_id" if spelled.isdecimal() else "discord_channel"
    message = make_message(connection)
    Message.objects.update(trigger={key: spelled})
    channel = spelled if spelled.isdecimal() else "# support DESK"
    place = make_place(kind="discord_webhook", url=HOOK, answers_channel=channel)
    make_place(kind="discord_webhook", url=HOOK, answers_channel="support")
    record("message.approved", actor=worker("test"), connection=connection.pk, message=message.public_id)
    planned = Delivery.objects.get()
    assert (planned.kind, planned.destination) == ("answer", place)
    planned.delete()
    assert plan_missed() == 1
    assert Delivery.objects.get().destination == place


def test_program_that_refuses_the_test_is_told_in_words(signed_in, admin, settings):
    with multimail() as standin:
        settings.OUTGOING_ALLOW = [standin.url]
        standin.answers["/here"] = (401, {})
        place = make_place(url=f"{standin.url}/here", secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        answer = signed_in(admin).post(f"/alerts/{place.pk}/test/")
    assert answer.status_code == 502
    assert "The test did not arrive" in answer.content.decode()


NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "word", "said"),
    [
        ({}, "On", ""),
        ({"waits_until": NOW}, "On", ""),
        ({"waits_until": NOW + timedelta(seconds=1)}, "Waiting", "asked us to wait"),
        ({"waits_until": NOW + timedelta(seconds=1), "failures": 3}, "Waiting", "The last 3 attempts failed."),
        ({"failures": 1}, "Failing", "The last attempt failed."),
        ({"switched_off_at": NOW, "switched_off_because": "Gone", "failures": 1}, "Switched off", "Gone"),
    ],
)
def test_place_says_how_it_is_and_why(fields, word, said):
    found = standing(Destination(**{"failures": 0, **fields}), NOW)
    assert (found.word, said in found.why, bool(found.until)) == (word, True, word == "Waiting")


def test_pages_say_that_a_place_waits_and_until_when(signed_in, admin):
    place = make_place(failures=2, waits_until=timezone.now() + timedelta(hours=2))
    client = signed_in(admin)
    for path in ("/alerts/", f"/alerts/{place.pk}/"):
        page = client.get(path).content.decode()
        assert "The last 2 attempts failed." in page
        assert "Nothing goes there before <time" in page


def test_place_is_switched_off_by_hand_and_on_again(signed_in, admin, connection, monkeypatch):
    place = make_place(failures=2, waits_until=timezone.now() + timedelta(hours=2))
    Route.objects.create(destination=place, actions=["message.held"])
    make_message(connection)
    client = signed_in(admin)
    assert client.get(f"/alerts/{place.pk}/off/").status_code == 405
    for _ in range(2):
        client.post(f"/alerts/{place.pk}/off/")
    place.refresh_from_db()
    assert place.switched_off_at
    assert place.switched_off_because == f"{admin.name} switched it off."
    # What comes due is given up and kept; nothing is planned while it is off.
    Delivery.objects.update(next_attempt_at=timezone.now())
    assert deliver_card(delivery_id=Delivery.objects.get().pk) == "gone"
    make_message(connection)
    assert (Delivery.objects.get().state, Delivery.objects.get().last_error) == ("failed", "It was switched off.")
    for path in ("/alerts/", f"/alerts/{place.pk}/", "/attention/"):
        page = client.get(path).content.decode()
        assert f"{admin.name} switched it off." in page
        assert f'action="/alerts/{place.pk}/test/"' in page
    client.post(f"/alerts/{place.pk}/on/")
    place.refresh_from_db()
    assert (place.switched_off_at, place.failures, place.waits_until) == (None, 0, None)
    monkeypatch.setattr("alerts.missed.PATIENCE", timedelta(0))
    assert (plan_missed(), Delivery.objects.count()) == (0, 1)
    acts = Entry.objects.filter(action__startswith="destination.").order_by("pk").values_list("action", "actor_kind")
    assert list(acts) == [("destination.switched_off", "person"), ("destination.switched_on", "person")]


def test_route_tells_of_its_events_at_its_place():
    at = datetime(2026, 11, 21, tzinfo=UTC)
    held = Act("message.held", 1, 7, at)
    elsewhere = Act("message.held", 2, 9, at)
    sent = Act("message.sent", 1, 7, at)
    acts = [held, elsewhere, sent]
    assert would_go(acts, Wanted(["email.held"])) == [held, elsewhere]
    assert would_go(acts, Wanted(["email.held"], connection=2)) == [elsewhere]
    assert would_go(acts, Wanted(["email.held", "email.sent"], mailbox=7), around=1) == [held, sent]


def test_preview_of_a_mailbox_counts_as_planning_does(connection):
    box = Mailbox.objects.create(connection=connection, upstream_id="box", address="box@yourteam.example")
    other = make_connection("other")
    wanted = Wanted([event.name for event in EVENTS], mailbox=box.pk)
    place = make_place()
    Route.objects.create(destination=place, mailbox=box, actions=wanted.actions)
    for of in (connection, other):
        record("connection.failing", actor=worker("test"), connection=of.pk)
        for address in (box.address, "else@yourteam.example"):
            record(REFUSED, actor=worker("test"), connection=of.pk, details={"mailbox": address})
    make_message(connection)
    found = would_go(newest_acts(), wanted, around=connection.pk)
    planned = Entry.objects.filter(pk__in=Delivery.objects.values("entry"))
    told = sorted(planned.values_list("action", "connection"))
    assert sorted((act.action, act.connection) for act in found) == told
    assert [action for action, _ in told] == ["connection.failing", REFUSED]


def test_route_is_previewed_added_and_removed(signed_in, admin, connection, django_assert_num_queries):
    place = make_place(name="#reviews", kind="discord_webhook", url=HOOK)
    make_message(connection, subject="A first letter")
    make_message(make_connection("other"), subject="Of others")
    client, path = signed_in(admin), f"/alerts/{place.pk}/routes/add/"
    fields = {"events": ["email.held"], "place": f"connection-{connection.pk}"}
    page = client.post(path, {**fields, "do": "preview"}).content.decode()
    assert "A first letter" in page
    assert "Of others" not in page
    assert 'class="discord-card amber"' in page
    assert not Route.objects.exists()
    with django_assert_num_queries(1):
        assert {act.subject for act in newest_acts()} == {"A first letter", "Of others"}
    client.post(path, {**fields, "do": "add"})
    route = Route.objects.get()
    assert (route.actions, route.connection) == (["message.held"], connection)
    again = client.post(path, {**fields, "do": "add"})
    assert (again.status_code, b"It is told of this already" in again.content) == (422, True)
    said = f"#reviews is told when mail is held and waits for a decision, in {connection}."
    assert said in client.get(f"/alerts/{place.pk}/").content.decode()
    client.post(f"/alerts/{place.pk}/routes/{route.pk}/remove/")
    assert not Route.objects.exists()
    acts = ["destination.route_added", "destination.route_removed"]
    assert [one.action for one in Entry.objects.filter(action__in=acts).order_by("pk")] == acts
    assert client.post(path, {"do": "add"}).status_code == 422


def previewed(client, place, *events):
    return html.unescape(
        client.post(f"/alerts/{place.pk}/routes/add/", {"events": events, "do": "preview"}).content.decode()
    )


def test_preview_shows_the_card_that_each_event_makes(signed_in, admin, connection):
    place = make_place(kind="discord_webhook", url=HOOK)
    client = signed_in(admin)
    page = previewed(client, place, *(event.name for event in EVENTS))
    assert page.count('class="discord-card') == len(EVENTS)
    for title in ("Held, expires soon.", "Mail refused at the gate", f"{connection}: cannot be reached"):
        assert title in page
    assert page.count("Waiting for a decision") == 2
    assert "<t:" not in page
    Destination.objects.update(privacy="minimal")
    assert "dana@" not in previewed(client, place, "email.refused")


@pytest.mark.parametrize("kind", ["inngest", "signed_webhook"])
@pytest.mark.parametrize("privacy", ["minimal", "headers", "full"])
def test_preview_shows_what_a_program_would_get(signed_in, admin, connection, kind, privacy):
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    place = make_place(kind=kind, privacy=privacy, secret=secret)
    client = signed_in(admin)
    page = previewed(client, place, *(event.name for event in EVENTS))
    bodies = [json.loads(one) for one in re.findall(r"<pre[^>]*>(\{.*?\n\})</pre>", page, re.DOTALL)]
    assert [one["data"]["event"] for one in bodies] == [event.name for event in EVENTS]
    assert [one["data"]["connection"] for one in bodies] == [connection.slug] * len(EVENTS)
    decided = next(one for one in bodies if one["data"]["event"] == "email.decided")
    assert (decided["data"]["message_id"], decided["data"]["decision"]) == ("01JSAMPLE", "approved")
    assert ("name" in decided) is (kind == "inngest")
    assert ("subject" in decided["data"], "text" in decided["data"]) == (privacy != "minimal", privacy == "full")
    assert "a-secret-path" not in page
    assert secret not in page
    # Nothing that is made up is kept.
    assert not Message.objects.exists()
    assert not Delivery.objects.exists()


def test_pages_say_per_kind_what_is_told(signed_in, admin):
    client = signed_in(admin)
    place = make_place(privacy="full")
    page = client.get(f"/alerts/{place.pk}/").content.decode()
    assert "the text of the letter" in client.get("/alerts/").content.decode()
    assert ("the text of the letter" in page, "how the letter begins" in page) == (True, False)
    assert ("discord-card" in page, "email.held" in page) == (False, True)
    Destination.objects.update(kind="discord_webhook", url=HOOK)
    page = client.get(f"/alerts/{place.pk}/").content.decode()
    assert "how the letter begins" in client.get("/alerts/").content.decode()
    assert ("the text of the letter" in page, "how the letter begins" in page) == (False, True)
    assert ("discord-card" in page, "email.held" in page) == (True, False)


def test_log_is_filtered_and_paged(signed_in, admin, connection):
    one, other = make_place(name="One"), make_place(name="Other")
    for _ in range(51):
        given_up(one)
    given_up(other, state="delivered")
    client = signed_in(admin)
    told = client.get(f"/alerts/log/?destination={one.pk}&state=failed&kind=event&format=json").json()
    assert len(told["deliveries"]) == 50
    following = client.get(told["next"]).json()
    assert [len(following["deliveries"]), following["next"]] == [1, ""]
    assert (
        client.get(f"/alerts/log/?destination={other.pk}&format=json").json()["deliveries"][0]["state"] == "delivered"
    )
    page = client.get("/alerts/log/?state=nonsense&before=x&destination=99999999999999999999")
    assert (page.status_code, b"51 were given up" in page.content) == (200, True)


def test_reviewer_sees_deliveries_of_their_mail_alone_and_nothing_of_what_was_sent(signed_in, connection):
    place = make_place()
    sent = {"request": "the request", "answer": "the answer"}
    theirs = given_up(place, make_message(connection, subject="Of theirs"), **sent)
    others = given_up(place, make_message(make_connection("other"), subject="Of others"), **sent)
    none = given_up(place, **sent)
    reviewer = make_person("r@yourteam.example", "Rita", "reviewer", connection=connection)
    client = signed_in(reviewer)
    for path in ("/alerts/log/", f"/alerts/log/{theirs.pk}/"):
        page = client.get(path).content.decode()
        assert "Of theirs" in page
        for hidden in ("Of others", "the request", "the answer", "Send again"):
            assert hidden not in page
    for hidden in (others, none):
        assert client.get(f"/alerts/log/{hidden.pk}/").status_code == 404


def test_names_of_places_are_told_as_far_as_somebody_sees(signed_in, admin, connection):
    place, other = make_place(), make_connection("other")
    boxes = [Mailbox.objects.create(connection=one, upstream_id="box", address=f"box@{one.slug}.example")
             for one in (connection, other)]  # fmt: skip
    for where in ({"connection": connection}, {"connection": other}, {"mailbox": boxes[0]}, {"mailbox": boxes[1]}, {}):
        Route.objects.create(destination=place, actions=["message.held"], **where)
    reviewer = make_person("r@yourteam.example", "Rita", "reviewer", connection=connection)
    page = signed_in(reviewer).get("/alerts/").content.decode()
    for told in (f"in {connection}<", f"in the mailbox {boxes[0]}<", "in all connections<"):
        assert told in page
    assert page.count("in a place that you do not look after") == 2
    for hidden in (other.name, boxes[1].address):
        assert hidden not in page
    page = signed_in(admin).get("/alerts/").content.decode()
    assert f"in {other}<" in page
    assert f"in the mailbox {boxes[1]}" in page


def test_admin_sends_again_one_or_all_that_were_given_up_once(signed_in, admin):
    place = make_place()
    first, second = given_up(place, request='{"a": 1}', answer="<the answer"), given_up(place)
    client = signed_in(admin)
    page = client.get(f"/alerts/log/{first.pk}/").content.decode()
    assert "{\n  &quot;a&quot;: 1\n}" in page
    assert "&lt;the answer" in page
    answer = client.post(f"/alerts/log/{first.pk}/again/", {"state": "failed"})
    assert answer["Location"] == "/alerts/log/?state=failed"
    second_try = Delivery.objects.get(state="due")
    assert second_try.again_of == first
    assert f"/alerts/log/{second_try.pk}/" in client.get(f"/alerts/log/{first.pk}/").content.decode()
    for _ in range(2):
        client.post("/alerts/log/again/")
    assert {one.again_of for one in Delivery.objects.filter(state="due")} == {first, second}
    assert Delivery.objects.filter(state="due").count() == 2
    page = client.get("/alerts/log/").content.decode()
    assert "given up" not in page.replace("what was given up.", "")
    assert f"alert {second_try.pk}</a>" in page


def test_what_cannot_go_again_keeps_nothing_else_from_it(signed_in, admin, monkeypatch):
    monkeypatch.setattr("alerts.views.log.MOST_AGAIN", 1)
    removed = make_place(removed_at=timezone.now(), switched_off_at=timezone.now())
    off, on = make_place(switched_off_at=timezone.now()), make_place()
    given_up(removed), given_up(off), given_up(on, erased_at=timezone.now()), given_up(on)
    client = signed_in(admin)
    assert b"<strong>2 were given up." in client.get("/alerts/log/").content
    for said in ("1 sent once more.", "It is switched off, where this went."):
        assert said in client.post("/alerts/log/again/", follow=True).content.decode()
    assert Delivery.objects.get(state="due").destination == on


@pytest.mark.django_db(transaction=True)
def test_of_two_that_send_all_again_at_once_each_is_sent_once(admin):
    lost = given_up(make_place())
    actor, seen, wait, refused = admin.actor(surface="web"), threading.Event(), threading.Event(), []

    def first():
        with transaction.atomic():
            send_again(lost.pk, actor, unless_done=True)
            seen.set()
            wait.wait(30)
        db.close()

    def second():
        try:
            send_again(lost.pk, actor, unless_done=True)
        except NotSentAgain as error:
            refused.append(error.sentence)
        db.close()

    threads = [threading.Thread(target=one) for one in (first, second)]
    threads[0].start()
    seen.wait(30)
    threads[1].start()
    waiting_for_a_lock(db)
    wait.set()
    for thread in threads:
        thread.join(30)
    assert refused == ["Somebody else had it sent once more."]
    assert Delivery.objects.filter(again_of=lost).count() == 1


def test_lists_ask_no_more_for_more_rows(signed_in, admin, connection, django_assert_max_num_queries):
    client = signed_in(admin)
    for path in ("/alerts/", "/alerts/log/"):
        client.get(path)
        numbers = []
        for _ in range(2):
            for _ in range(4):
                place = make_place()
                Route.objects.create(destination=place, connection=connection, actions=["message.held"])
                given_up(place, make_message(connection))
            with django_assert_max_num_queries(60) as asked:
                client.get(path)
            numbers.append(len(asked))
        assert numbers[0] == numbers[1], path
