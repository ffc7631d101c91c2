"""The brake on agents that send too much: caps, floods set apart with one alert, and
what people do with them.
"""

from datetime import timedelta

import pytest
from django.db.models import F
from django.urls import reverse

from alerts.models import Card, Delivery
from approvals import examination, tasks
from approvals.caps import caps_now
from approvals.desk_messages import desk_messages
from approvals.intake.ingest import receive_webhook
from approvals.models import Arrival, Brake, Cap
from approvals.sweeping import DUTIES
from audit.models import Entry
from common.postgres import clock
from gateway.models import ApiKey
from mirror.models import Message
from mirror.sync.rows import mirror_row
from tests.factories import (
    actor_of,
    event_body,
    make_connection,
    pending_row,
    post_event,
)
from tests.integration.deciding import at_once, decide

KEY = {"sent_by_key": "01KEY", "sent_by_key_name": "Invoices"}
NONE = {"key": (0, 0), "alike": (0, 0), "mailbox": (0, 0), "recipient": (0, 0)}


def cap(**caps):
    """Set these caps, and no others."""
    Cap.objects.all().delete()
    for kind, (an_hour, a_day) in {**NONE, **caps}.items():
        Cap.objects.create(kind=kind, an_hour=an_hour, a_day=a_day)


def come(client, connection, number=1, **fields):
    for _ in range(number):
        assert (
            post_event(client, connection, event_body(**{**KEY, **fields})).status_code
            == 200
        )


def apart():
    return [message.review.is_apart for message in Message.objects.order_by("pk")]


def actions(*begins):
    return [
        entry.action
        for entry in Entry.objects.oldest_first()
        if entry.action.startswith(begins or ("brake.",))
    ]


def later(delta):
    Arrival.objects.update(at=F("at") - delta)
    Brake.objects.update(opened_at=F("opened_at") - delta)


@pytest.fixture
def connection():
    return make_connection(is_our_gateway=True, admin_key="mm_live_admin")


@pytest.mark.parametrize(
    ("caps", "fields"),
    [
        ({"key": (0, 3)}, {}),
        pytest.param(
            {"mailbox": (3, 0)},
            {"sent_by_key": "", "sent_by_key_name": ""},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"recipient": (3, 0)},
            {"to": ["Dana <dana@northwind.example>", "DANA@northwind.example"]},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_as_many_as_a_cap_allows_are_in_the_queue_and_the_rest_is_apart_and_held(
    client, connection, caps, fields
):
    cap(**caps)
    come(client, connection, 5, **fields)
    assert apart() == [False] * 3 + [True] * 2
    assert set(Message.objects.values_list("state", flat=True)) == {"held"}
    assert actions() == ["brake.opened"]
    flood = Brake.objects.get()
    assert (flood.kind, flood.cap) == (next(iter(caps)), 3)
    # Another agent's are not set apart.
    other = {
        "sent_by_key": "01OTHER",
        "mailbox_id": "01OTHER",
        "mailbox": "o@x.example",
    }
    come(client, connection, to=["lee@x.example"], **other)
    assert apart()[-1] is False


def test_no_cap_counts_nothing(client, connection):
    cap()
    come(client, connection, 4)
    cap(key=(5, 0))
    come(client, connection, 2)
    assert apart() == [False] * 5 + [True]
    # Received mail is not the agent's.
    come(client, connection, 1, direction="inbound", status="pending_inbound_approval")
    assert apart()[-1] is False


@pytest.mark.django_db(transaction=True)
def test_webhooks_at_one_moment_are_counted_exactly(client, connection):
    cap(key=(3, 0))
    come(client, connection, 2)
    stored = at_once(
        *[
            lambda: receive_webhook(
                connection=connection, body=event_body(**KEY), secret_used="current"
            )
        ]
        * 4
    )
    assert [one.result for one in stored] == ["applied"] * 4
    assert Message.objects.filter(review__is_apart=False).count() == 3
    assert Message.objects.filter(review__is_apart=True).count() == 3
    assert actions() == ["brake.opened"]


def test_flood_makes_one_alert_and_one_card(client, connection, reviewer, route):
    cap(key=(5, 0))
    come(client, connection, 10)
    about = list(Card.objects.exclude(about="").values_list("about", flat=True))
    assert about == [f"brake/{Brake.objects.get().pk}"]
    assert Card.objects.filter(about="").count() == 5
    assert Delivery.objects.count() == 6
    # Deciding one makes no card either.
    message = Message.objects.filter(review__is_apart=True).first()
    mirror_row(connection, pending_row(message.upstream_id), clock(), examination)
    message.refresh_from_db()
    assert decide(message, reviewer).decision.state == "recorded"
    post_event(
        client,
        connection,
        event_body(
            "message.rejected", email_id=message.upstream_id, decision="rejected"
        ),
    )
    assert Card.objects.count() == 6


@pytest.mark.slow
def test_over_when_the_window_has_passed_and_the_same_flood_when_it_begins_again(
    client, connection
):
    cap(key=(3, 0))
    come(client, connection, 5)
    DUTIES["floods over"]()
    assert Brake.objects.get().ended_at is None
    later(timedelta(hours=1))
    come(client, connection, 1)
    assert apart()[-1] is False
    assert tasks.sweep() == "swept"
    flood = Brake.objects.get()
    assert flood.ended_at is not None
    assert flood.reviews.filter(is_apart=True).count() == 2
    come(client, connection, 3)
    assert apart()[-1] is True
    assert Brake.objects.get().ended_at is None
    assert actions() == ["brake.opened", "brake.ended", "brake.opened"]
    # A day later it is another one.
    later(timedelta(days=2))
    assert tasks.sweep() == "swept"
    Brake.objects.update(ended_at=F("ended_at") - timedelta(hours=2))
    come(client, connection, 4)
    assert Brake.objects.count() == 2


@pytest.mark.slow
def test_nearly_identical_ones_are_set_apart_when_they_are_read_and_their_cards_dropped(
    client, connection, route
):
    cap(alike=(2, 0))
    for number in range(4):
        come(
            client,
            connection,
            1,
            email_id=f"01ALIKE{number}",
            to=[f"dana{number}@x.example"],
            sent_by_key=f"k{number}",
        )
    assert Card.objects.count() == 4
    # This one may be posted: the answer to an attempt was lost.
    last = Delivery.objects.filter(card__message__upstream_id="01ALIKE3")
    last.update(attempts=1)
    for number in range(4):
        row = pending_row(
            f"01ALIKE{number}",
            to_addresses=[f"dana{number}@x.example"],
            markdown=f"You owe {number} EUR.",
        )
        assert mirror_row(connection, row, clock(), examination)
    assert apart() == [False, False, True, True]
    cards = Card.objects.filter(about="").values_list("message__upstream_id", flat=True)
    assert {"01ALIKE0", "01ALIKE1", "01ALIKE3"} == set(cards)
    assert Card.objects.exclude(about="").count() == 1
    assert len(actions("message.set_apart")) == 2


def test_scheduled_messages_count_where_they_leave_too(client, connection):
    cap(key=(3, 0))
    tomorrow = clock() + timedelta(days=1)

    def schedule(number, minutes):
        send_at = tomorrow + timedelta(minutes=minutes)
        fields = {"send_at": send_at.isoformat(), "received_at": None}
        row = pending_row(f"01LATER{number}", **KEY, **fields)
        mirror_row(connection, row, clock(), examination)

    # They come an hour apart, and four would leave within one, the last first.
    for number, minutes in enumerate((50, 40, 30, 20, 90)):
        come(client, connection, email_id=f"01LATER{number}")
        schedule(number, minutes)
        Arrival.objects.filter(at__lt=clock()).update(at=F("at") - timedelta(hours=1))
    assert apart() == [False, False, False, True, False]
    DUTIES["floods over"]()
    assert str(Brake.objects.get(ended_at=None)) == "from the key “Invoices”"
    # The time of one is changed, past the cap and back.
    schedule(4, 25)
    assert apart()[4] is True
    schedule(4, 90)
    assert Arrival.objects.filter(upstream_id="01LATER4", at__gt=tomorrow).count() == 4


@pytest.fixture
def flood(client, connection):
    """Two messages in the queue, and three apart."""
    cap(key=(2, 0))
    for number in range(5):
        come(client, connection, 1, email_id=f"01FLOOD{number}")
        mirror_row(
            connection, pending_row(f"01FLOOD{number}", **KEY), clock(), examination
        )
    return Brake.objects.get()


def test_apart_is_not_in_the_queue_and_can_be_put_back(signed_in, reviewer, flood):
    actor = actor_of(reviewer)
    assert desk_messages().count_waiting_for(actor) == 2
    client = signed_in(reviewer)
    page = client.get(reverse("queue")).text
    assert page.count('id="message-row-') == 2
    listed = client.get(reverse("brake", args=[flood.pk])).text
    assert listed.count('name="id"') == 3
    # By its own page each can be decided all the same.
    set_apart = Message.objects.filter(review__is_apart=True).first()
    assert decide(set_apart, reviewer).decision.state == "recorded"
    assert client.post(reverse("put-back", args=[flood.pk])).status_code == 302
    assert desk_messages().count_waiting_for(actor) == 4
    assert client.post(reverse("put-back", args=[flood.pk])).status_code == 403
    assert Entry.objects.get(action="brake.put_back").detail.fields["messages"] == "2"


@pytest.mark.slow
def test_paused_key_is_refused_by_the_gateway_until_it_is_resumed(
    signed_in, admin, reviewer, account
):
    world = account.world
    key = ApiKey.objects.get(name="Key agent")
    of_key = {"kind": "key", "sent_by_key": key.pk, "name": "Key agent"}
    flood = Brake.objects.create(
        connection=account.connection, window=timedelta(hours=1), cap=5, **of_key
    )

    def send():
        answer = account.ask(
            "POST",
            f"{world.base}/send",
            key="agent",
            json={"to": "d@x.example", "subject": "S", "text": "T"},
        )
        return answer.status_code, answer.json().get("code", "")

    pause = reverse("pause-key-of-flood", args=[flood.pk])
    assert "/reauthenticate/" in signed_in(reviewer, minutes=11).post(pause)["Location"]
    assert signed_in(reviewer).post(pause).status_code == 302
    assert send() == (403, "key_paused")
    resume = reverse("pause-api-key", args=[account.connection.pk, key.pk])
    assert signed_in(reviewer).post(resume, {"do": "resume"}).status_code == 403
    assert signed_in(admin).post(resume, {"do": "resume"}).status_code == 302
    assert send() == (202, "")
    assert actions("api_key.") == ["api_key.paused", "api_key.resumed"]


@pytest.mark.slow
def test_multimail_that_cannot_pause_a_key_is_said_so(signed_in, admin, account):
    key = ApiKey.objects.get(name="Key agent")
    unknown = (200, b'{"id": "1", "status": "updated"}')
    account.gateway.spoiled[("PATCH", f"/api-keys/{key.pk}")] = unknown
    pause = reverse("pause-api-key", args=[account.connection.pk, key.pk])
    assert signed_in(admin).post(pause, {"do": "pause"}).status_code == 422
    assert actions("api_key.paused") == []


def test_caps_are_set_by_admins_of_everything(signed_in, admin):
    page = signed_in(admin)
    assert page.post(reverse("set-caps"), {"key_hour": "7"}).status_code == 302
    assert page.post(reverse("set-caps"), {"key_hour": "-1"}).status_code == 422
    assert caps_now() == {**NONE, "key": (7, 0)}
