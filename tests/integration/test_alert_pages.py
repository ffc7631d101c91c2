"""Alert pages: destinations of every kind, routes with their preview, and the log of
deliveries.
"""

import re
from datetime import timedelta
from functools import partial

import pytest
from django.utils import timezone

from alerts.destinations.commands import (
    Settings,
    change_destination,
    remove_destination,
)
from alerts.destinations.forms import DestinationForm
from alerts.errors import NotChanged
from alerts.models import Delivery, Destination, Route
from alerts.views.destinations import newest_acts
from audit.models import Entry, EntryDetail
from mirror.models import Mailbox
from tests.alerting import deliver, make_message
from tests.factories import make_connection, make_person

HOOK = "https://discord.com/api/webhooks/1180000000000000427/a-token"
ENDPOINT = "https://hooks.yourteam.example/a-secret-path"


def form(kind, **fields):
    return {
        "kind": kind,
        "name": "#ops",
        "privacy": "headers",
        "events": ["email.held"],
        **fields,
    }


def problems(kind, **fields):
    """The form's errors for a new destination, by field."""
    return DestinationForm(
        form(kind, **fields), connections=[], destination=None
    ).errors_by_field()


def make_destination(**fields):
    return Destination.objects.create(
        **{"name": "Ours", "kind": "signed_webhook", "url": ENDPOINT, **fields}
    )


def make_failed_delivery(destination, message=None, **fields):
    of = {"kind": "event", "action": "message.held", "state": "failed", **fields}
    return Delivery.objects.create(destination=destination, message=message, **of)


def test_bot_channel_is_added_by_id_or_address_and_unsupported_options_are_refused(
    signed_in, admin, settings
):
    settings.DISCORD_BOT_TOKEN = ""
    client = signed_in(admin)
    for typed in (
        "1180000000000000555",
        "https://discord.com/channels/1/1180000000000000555",
    ):
        client.post("/alerts/add/", form("discord_bot", channel=typed))
    made = Destination.objects.filter(kind="discord_bot", url="")
    assert [one.channel for one in made] == ["1180000000000000555"] * 2
    assert b"DISCORD_BOT_TOKEN is not set" in client.get("/alerts/").content
    assert "which has only digits" in problems("discord_bot", channel="#ops")["channel"]
    assert "at least one" in problems("inngest", url=HOOK, events=[])["events"]
    assert "address" in problems("inngest", url=HOOK)["url"]
    assert "Discord" in problems("signed_webhook", url=HOOK)["url"]
    wrong = problems("signed_webhook", url=ENDPOINT, answers_channel="x")
    assert "Only a destination in Discord" in wrong["answers_channel"]


def test_secret_is_shown_once_and_changed_with_an_overlap_and_no_address_is_shown(
    signed_in, admin
):
    client = signed_in(admin)
    make_destination(kind="inngest", url="https://inn.gs/e/an-event-key")
    answer = client.post("/alerts/add/", form("signed_webhook", url=ENDPOINT))
    first = re.search(r"whsec_[\w+/=]+", answer.text)[0]
    assert answer["Cache-Control"] == "no-store"
    destination = Destination.objects.get(kind="signed_webhook")
    assert destination.secret == first
    answer = client.post(f"/alerts/{destination.pk}/secret/")
    destination.refresh_from_db()
    assert destination.secret in answer.text
    assert destination.secret_before == first
    # A third secret would drop one that the receiver may still use; a leaked one is
    # dropped at once.
    answer = client.post(f"/alerts/{destination.pk}/secret/")
    assert answer.status_code == 422
    client.post(f"/alerts/{destination.pk}/secret/", {"leaked": "yes"})
    destination.refresh_from_db()
    assert destination.secret_before == ""
    seen = answer.text + client.get("/alerts/").text
    seen += str(list(EntryDetail.objects.values("fields")))
    for hidden in ("whsec_", "a-secret-path", "an-event-key"):
        assert hidden not in seen


def test_channel_is_answered_by_one_destination_however_its_name_is_spelled(
    signed_in, admin
):
    client = signed_in(admin)
    actor = admin.actor(surface="web")
    client.post(
        "/alerts/add/",
        form("discord_webhook", url=HOOK, answers_channel="# Support", events=[]),
    )
    first = Destination.objects.get()
    assert first.answers_channel == "Support"
    answer = client.post(
        "/alerts/add/", form("discord_bot", channel="12345", answers_channel="#support")
    )
    assert answer.status_code == 422
    assert b'id="answers-problem"' in answer.content
    assert "#ops already answers requests from support" in answer.text

    second = make_destination(kind="discord_bot", channel="12345")
    wanted = Settings(name="Second", privacy="headers", answers_channel=" ##SUPPORT ")
    change = partial(
        change_destination,
        destination_id=second.pk,
        settings=wanted,
        actor=actor,
    )
    with pytest.raises(NotChanged):
        change()
    remove_destination(destination_id=first.pk, actor=actor)
    assert change().answers_channel == " ##SUPPORT "


def test_destination_can_be_switched_off_and_on_again(signed_in, admin, connection):
    destination = make_destination(
        failures=2, waits_until=timezone.now() + timedelta(hours=2)
    )
    Route.objects.create(destination=destination, actions=["message.held"])
    make_message(connection)
    client = signed_in(admin)
    assert client.get(f"/alerts/{destination.pk}/off/").status_code == 405
    for _ in range(2):
        client.post(f"/alerts/{destination.pk}/off/")
    destination.refresh_from_db()
    assert destination.switched_off_at
    # Due deliveries fail and are stored; nothing is planned while it is off.
    Delivery.objects.update(next_attempt_at=timezone.now())
    assert deliver(delivery_id=Delivery.objects.get().pk) == "gone"
    make_message(connection)
    assert Delivery.objects.get().state == "failed"
    assert Delivery.objects.get().last_error == "It was switched off."
    assert destination.switched_off_because == f"{admin.name} switched it off."
    for _ in range(2):
        client.post(f"/alerts/{destination.pk}/on/")
    destination.refresh_from_db()
    assert destination.switched_off_at is None
    assert destination.switched_off_because == ""
    assert destination.failures == 0
    assert destination.waits_until is None
    assert Delivery.objects.count() == 1
    acts = Entry.objects.filter(action__startswith="destination.").oldest_first()
    assert [one.action for one in acts] == [
        "destination.switched_off",
        "destination.switched_on",
    ]


def test_route_is_previewed_added_and_removed(
    signed_in, admin, connection, django_assert_num_queries
):
    destination = make_destination(name="#reviews", kind="discord_webhook", url=HOOK)
    make_message(connection, subject="A first message")
    make_message(make_connection("other"), subject="Of others")
    client = signed_in(admin)
    path = f"/alerts/{destination.pk}/routes/add/"
    fields = {"events": ["email.held"], "place": f"connection-{connection.pk}"}
    page = client.post(path, {**fields, "do": "preview"}).text
    assert "A first message" in page
    assert "Of others" not in page
    assert 'class="discord-card amber"' in page
    assert not Route.objects.exists()
    with django_assert_num_queries(2):
        assert len({act.message for act in newest_acts()}) == 2

    client.post(path, {**fields, "do": "add"})
    route = Route.objects.get()
    assert route.actions == ["message.held"]
    assert route.connection == connection
    again = client.post(path, {**fields, "do": "add"})
    assert again.status_code == 422
    assert b"This route exists already" in again.content
    client.post(f"/alerts/{destination.pk}/routes/{route.pk}/remove/")
    assert not Route.objects.exists()
    acts = ["destination.route_added", "destination.route_removed"]
    assert [
        one.action for one in Entry.objects.filter(action__in=acts).order_by("pk")
    ] == acts


@pytest.mark.slow
def test_log_is_filtered_and_paged(signed_in, admin):
    one = make_destination(name="One")
    other = make_destination(name="Other")
    Delivery.objects.bulk_create(
        Delivery(destination=one, kind="event", state="failed") for _ in range(51)
    )
    make_failed_delivery(other, state="delivered")
    client = signed_in(admin)
    listed = client.get(
        f"/alerts/log/?destination={one.pk}&state=failed&kind=event&format=json"
    ).json()
    assert len(listed["deliveries"]) == 50
    following = client.get(listed["next"]).json()
    assert len(following["deliveries"]) == 1
    assert following["next"] == ""
    [last] = client.get(f"/alerts/log/?destination={other.pk}&format=json").json()[
        "deliveries"
    ]
    assert last["state"] == "delivered"
    page = client.get(
        "/alerts/log/?state=nonsense&before=x&destination=99999999999999999999"
    )
    assert page.status_code == 200
    assert b"51 were given up" in page.content


def test_reviewer_sees_only_deliveries_of_visible_messages_and_no_request_bodies(
    signed_in, connection
):
    destination = make_destination()
    sent = {"request": "the request", "answer": "the answer"}
    theirs = make_failed_delivery(
        destination, make_message(connection, subject="Of theirs"), **sent
    )
    others = make_failed_delivery(
        destination, make_message(make_connection("other"), subject="Of others"), **sent
    )
    none = make_failed_delivery(destination, **sent)
    client = signed_in(
        make_person("r@yourteam.example", "Rita", "reviewer", connection=connection)
    )
    for path in ("/alerts/log/", f"/alerts/log/{theirs.pk}/"):
        page = client.get(path).text
        assert "Of theirs" in page
        for text in ("Of others", "the request", "the answer", "Send again"):
            assert text not in page
    for hidden in (others, none):
        assert client.get(f"/alerts/log/{hidden.pk}/").status_code == 404


@pytest.mark.slow
def test_scope_names_are_shown_only_to_people_who_can_see_them(signed_in, connection):
    destination = make_destination()
    other = make_connection("other")
    mine, theirs = (
        Mailbox.objects.create(
            connection=one, upstream_id="box", address=f"box@{one.slug}.example"
        )
        for one in (connection, other)
    )
    for where in (
        {"connection": connection},
        {"connection": other},
        {"mailbox": mine},
        {"mailbox": theirs},
        {},
    ):
        Route.objects.create(destination=destination, actions=["message.held"], **where)
    reviewer = make_person(
        "r@yourteam.example", "Rita", "reviewer", connection=connection
    )
    page = signed_in(reviewer).get("/alerts/").text
    assert f"In {connection}" in page
    assert f"In the mailbox {mine}" in page
    assert "In all connections" in page
    assert page.count("For mail that you cannot see") == 2
    assert other.name not in page
    assert theirs.address not in page


def test_admin_resends_one_or_all_failed_deliveries_once(signed_in, admin):
    destination = make_destination()
    first = make_failed_delivery(destination, request='{"a": 1}', answer="<answer")
    second = make_failed_delivery(destination)
    client = signed_in(admin)
    answer = client.post(f"/alerts/log/{first.pk}/again/", {"state": "failed"})
    assert answer["Location"] == "/alerts/log/?state=failed"
    again = Delivery.objects.get(state="due")
    assert again.again_of == first
    page = client.get(f"/alerts/log/{first.pk}/").text
    assert "{\n  &quot;a&quot;: 1\n}" in page
    assert "&lt;answer" in page
    assert f"/alerts/log/{again.pk}/" in page
    for _ in range(2):
        client.post("/alerts/log/again/")
    assert [
        one.again_of for one in Delivery.objects.filter(state="due").order_by("pk")
    ] == [first, second]
    page = client.get("/alerts/log/").text
    assert "given up" not in page.replace("what was given up.", "")
    assert f"alert {again.pk}</a>" in page


@pytest.mark.slow
def test_delivery_that_cannot_be_resent_does_not_block_the_others(
    signed_in, admin, monkeypatch
):
    monkeypatch.setattr("alerts.views.log.MAX_AGAIN", 1)
    removed = make_destination(
        removed_at=timezone.now(), switched_off_at=timezone.now()
    )
    off = make_destination(switched_off_at=timezone.now())
    on = make_destination()
    for destination in (removed, off, on):
        make_failed_delivery(destination)
    make_failed_delivery(on, erased_at=timezone.now())
    client = signed_in(admin)
    assert b"<strong>2 were given up." in client.get("/alerts/log/").content
    for reason in ("1 sent again.", "The destination is switched off."):
        assert reason in client.post("/alerts/log/again/", follow=True).text
    assert Delivery.objects.get(state="due").destination == on


@pytest.mark.slow
def test_lists_use_the_same_number_of_queries_for_more_rows(
    signed_in, admin, connection, django_assert_max_num_queries
):
    client = signed_in(admin)
    asked = []
    for number in (1, 5):
        for _ in range(number):
            destination = make_destination()
            Route.objects.create(
                destination=destination, connection=connection, actions=["message.held"]
            )
            make_failed_delivery(destination, make_message(connection))
        for path in ("/alerts/", "/alerts/log/"):
            with django_assert_max_num_queries(60) as queries:
                client.get(path)
            asked.append(len(queries))
    destinations, log, more_destinations, more_log = asked
    # The first request of a process may need more queries than later ones.
    assert more_destinations <= destinations
    assert more_log <= log
