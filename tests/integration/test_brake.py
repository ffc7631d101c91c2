"""The brake on agents that send too much: caps, floods set apart with one alert, and
what people do with them.
"""

from datetime import timedelta

import pytest
from django.db.models import F

from alerts.models import Card, Delivery
from approvals import tasks
from approvals.desk_messages import desk_messages
from approvals.held_rows import mirror_row
from approvals.intake.ingest import receive_webhook
from approvals.models import Arrival, Brake, Cap
from audit.models import Entry
from common.postgres import clock
from mirror.models import Message
from tests.factories import (
    actor_of,
    event_body,
    make_connection,
    pending_row,
    post_event,
)
from tests.integration.deciding import at_once, decide

pytestmark = pytest.mark.usefixtures("plans_at_once")

KEY = {"sent_by_key": "01KEY", "sent_by_key_name": "Invoices"}
NONE = dict.fromkeys(("key", "alike", "mailbox", "recipient"), (0, 0))
SLOW = pytest.mark.slow


def cap(**caps):
    """Set these caps, and no others."""
    Cap.objects.all().delete()
    for kind, (an_hour, a_day) in {**NONE, **caps}.items():
        Cap.objects.create(kind=kind, an_hour=an_hour, a_day=a_day)


def come(client, connection, number=1, **fields):
    for _ in range(number):
        body = event_body(**{**KEY, **fields})
        assert post_event(client, connection, body).status_code == 200


def read(connection, upstream_id, **fields):
    """Let the desk read a message that came."""
    row = pending_row(upstream_id, **{**KEY, **fields})
    assert mirror_row(connection, row, clock())


def apart():
    return [message.review.is_apart for message in Message.objects.order_by("pk")]


def actions(begins="brake."):
    entries = Entry.objects.filter(action__startswith=begins).oldest_first()
    return list(entries.values_list("action", flat=True))


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
        pytest.param({"mailbox": (3, 0)}, dict.fromkeys(KEY, ""), marks=SLOW),
        pytest.param(
            {"recipient": (3, 0)},
            {"to": ["Dana <dana@northwind.example>", "DANA@northwind.example"]},
            marks=SLOW,
        ),
    ],
)
def test_as_many_as_a_cap_allows_are_in_the_queue_and_the_rest_is_apart_and_held(
    client, connection, caps, fields
):
    # Without a cap nothing is set apart, and counts.
    cap()
    come(client, connection)
    cap(**caps)
    come(client, connection, 4, **fields)
    # Neither another agent's are set apart, nor received mail.
    box = {"mailbox_id": "01OTHER", "mailbox": "o@x.example", "to": ["lee@x.example"]}
    come(client, connection, sent_by_key="01OTHER", **box)
    received = {"direction": "inbound", "status": "pending_inbound_approval"}
    come(client, connection, **fields, **received)
    assert apart() == [False] * 3 + [True] * 2 + [False] * 2
    assert set(Message.objects.values_list("state", flat=True)) == {"held"}
    assert actions() == ["brake.opened"]
    flood = Brake.objects.get()
    assert (flood.kind, flood.cap) == (*caps, 3)


def test_one_key_does_not_set_apart_what_another_writes_to_the_same_recipient(
    client, connection, route
):
    cap(recipient=(2, 0))
    to = {"to": ["dana@northwind.example"]}
    come(client, connection, 4, **to)
    other = {"sent_by_key": "01OTHER", "sent_by_key_name": "Support"}
    come(client, connection, email_id="01ORDINARY", **other, **to)
    assert apart() == [False, False, True, True, False]
    ordinary = Message.objects.get(upstream_id="01ORDINARY")
    assert Card.objects.filter(message=ordinary).exists()
    named = "to dana@northwind.example from “Invoices”"
    assert str(Brake.objects.get()) == named
    # Where a key is not known before the content, nothing counts for others before.
    none = dict.fromkeys(KEY, "")
    come(client, connection, 3, **none, **to)
    assert apart()[5:] == [False] * 3
    # A flood that keys share is found by what they have in common.
    cap(recipient=(9, 0), mailbox=(8, 0))
    for number in range(2):
        come(client, connection, sent_by_key=f"01KEY{number}", **to)
    assert apart()[8:] == [True] * 2


@pytest.mark.django_db(transaction=True)
def test_webhooks_at_one_moment_are_counted_exactly(client, connection):
    cap(key=(3, 0))
    come(client, connection, 2)
    call = {"connection": connection, "secret_used": "current"}
    at_once(*[lambda: receive_webhook(body=event_body(**KEY), **call)] * 4)
    assert sorted(apart()) == [False] * 3 + [True] * 3
    assert actions() == ["brake.opened"]


def test_flood_makes_one_alert_and_one_card(client, connection, reviewer, route):
    cap(key=(2, 0))
    come(client, connection, 5)
    about = Card.objects.exclude(about="").values_list("about", flat=True)
    assert [*about] == [f"brake/{Brake.objects.get().pk}"]
    assert Card.objects.count() == Delivery.objects.count() == 3
    # Deciding one makes no card either.
    message = Message.objects.filter(review__is_apart=True).first()
    read(connection, message.upstream_id)
    assert decide(message, reviewer).decision.state == "recorded"
    ended = {"email_id": message.upstream_id, "decision": "rejected"}
    post_event(client, connection, event_body("message.rejected", **ended))
    assert Card.objects.count() == 3


@pytest.mark.slow
def test_over_when_the_window_has_passed_and_the_same_flood_when_it_begins_again(
    client, connection
):
    cap(key=(3, 0))
    come(client, connection, 5)
    tasks.sweep()
    assert Brake.objects.get().ended_at is None
    later(timedelta(hours=1))
    come(client, connection, 1)
    tasks.sweep()
    flood = Brake.objects.get()
    assert flood.ended_at is not None
    assert flood.reviews.filter(is_apart=True).count() == 2
    come(client, connection, 3)
    assert apart()[-2:] == [False, True]
    assert actions() == ["brake.opened", "brake.ended", "brake.opened"]
    # A day later it is another one.
    later(timedelta(days=2))
    tasks.sweep()
    Brake.objects.update(ended_at=F("ended_at") - timedelta(hours=2))
    come(client, connection, 4)
    assert Brake.objects.count() == 2


@pytest.mark.slow
def test_nearly_identical_ones_are_set_apart_when_they_are_read_and_their_cards_dropped(
    client, connection, route
):
    cap(alike=(2, 0))
    names = [f"01ALIKE{number}" for number in range(4)]
    for name in names:
        to = [f"{name}@x.example"]
        come(client, connection, email_id=name, to=to, sent_by_key=name)
    # This one may be posted: the answer to an attempt was lost.
    Delivery.objects.filter(card__message__upstream_id=names[3]).update(attempts=1)
    for number, name in enumerate(names):
        text = f"You owe {number} EUR."
        read(connection, name, to_addresses=[f"{name}@x.example"], markdown=text)
    assert apart() == [False, False, True, True]
    cards = Card.objects.filter(about="").values_list("message__upstream_id", flat=True)
    assert {*cards} == {names[0], names[1], names[3]}
    assert Card.objects.exclude(about="").count() == 1
    assert len(actions("message.set_apart")) == 2


@pytest.mark.slow
def test_scheduled_messages_count_where_they_leave_too(client, connection):
    cap(key=(3, 0))
    tomorrow = clock() + timedelta(days=1)

    def schedule(number, minutes):
        at = tomorrow + timedelta(minutes=minutes)
        read(connection, f"01LATER{number}", send_at=at.isoformat(), received_at=None)

    # They come an hour apart, and four would leave within one, the last first.
    for number, minutes in enumerate((50, 40, 30, 20, 90)):
        come(client, connection, email_id=f"01LATER{number}")
        schedule(number, minutes)
        Arrival.objects.filter(at__lt=clock()).update(at=F("at") - timedelta(hours=1))
    assert apart() == [False, False, False, True, False]
    tasks.sweep()
    assert Brake.objects.get().ended_at is None
    # The time of one is changed, past the cap and back.
    for minutes in (25, 90):
        schedule(4, minutes)
        assert apart()[4] is True
    assert Arrival.objects.filter(upstream_id="01LATER4", at__gt=tomorrow).count() == 4


@pytest.mark.slow
def test_apart_is_not_in_the_queue_and_can_be_put_back(
    client, signed_in, connection, reviewer
):
    cap(key=(2, 0))
    for number in range(5):
        come(client, connection, email_id=f"01FLOOD{number}")
        read(connection, f"01FLOOD{number}")
    actor = actor_of(reviewer)
    assert desk_messages().count_waiting_for(actor) == 2
    signed_in(reviewer)
    assert client.get("/queue/").text.count('id="message-row-') == 2
    path = f"/queue/apart/{Brake.objects.get().pk}/"
    assert client.get(path).text.count('name="id"') == 3
    # By its own page each can be decided all the same.
    set_apart = Message.objects.filter(review__is_apart=True).first()
    assert decide(set_apart, reviewer).decision.state == "recorded"
    for status in (302, 403):
        assert client.post(f"{path}put-back/").status_code == status
    assert desk_messages().count_waiting_for(actor) == 4
    assert Entry.objects.get(action="brake.put_back").detail.fields["messages"] == "2"
