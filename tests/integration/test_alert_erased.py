"""Erasing a message also erases the content of its deliveries, and none of them can be
resent.
"""

import pytest

from alerts.deliveries import deliver as delivering
from alerts.deliveries.drain import drain
from alerts.deliveries.erasing import erase_bodies
from alerts.deliveries.event_bodies import send_event
from alerts.deliveries.resending import resend
from alerts.errors import NotResent
from alerts.models import Card, Delivery, Destination, Digest
from mirror.models import Message
from tests.alerting import deliver
from tests.factories import make_message
from tests.integration.test_retention import erase

HELD = ("message.held",)


# The command seals first, and only committed entries can be sealed.
@pytest.mark.django_db(transaction=True)
def test_erasing_a_message_erases_its_stored_deliveries_and_marks_them(
    discord, connection, admin, signed_in
):
    destination = discord.destination(1, actions=HELD, privacy="full")
    message = make_message(connection)
    other = make_message(connection)
    drain(destination_id=destination.pk)
    digest = Digest.objects.create(destination=destination, discord_message_id="7")
    Card.objects.filter(message=message).update(digest=digest, discord_message_id="")
    Delivery.objects.create(
        kind="digest",
        destination=destination,
        digest=digest,
        action="x",
        state="delivered",
        request="Your refund",
    )
    program = Destination.objects.create(
        kind="inngest", name="Functions", url="https://inn.gs/e/key"
    )
    event = {
        "kind": "event",
        "destination": program,
        "message": message,
        "action": "message.sent",
    }
    gone = Delivery.objects.create(
        **event, entry=1, state="delivered", request='{"to": "dana@"}', answer="dana@"
    )
    waits = Delivery.objects.create(**event, entry=2, request='{"to": "dana@"}')
    Message.objects.update(state="rejected")

    assert "what 4 deliveries of alerts told" in erase(message)
    remaining = Delivery.objects.exclude(request="", answer="")
    assert [one.message for one in remaining] == [other]
    waits.refresh_from_db()
    assert waits.state == "failed"
    assert waits.last_error == "The message was erased before this was sent."
    with pytest.raises(NotResent, match="erased with its message"):
        resend(gone.pk, admin.actor(surface="web"))
    page = signed_in(admin).get("/alerts/log/").text
    assert page.count("Content erased.") == 4
    assert page.count("Send again<") == 1
    assert "what 0 deliveries" in erase(message)


@pytest.mark.parametrize(
    "kind", ["card", pytest.param("event", marks=pytest.mark.slow)]
)
def test_worker_that_is_sending_during_an_erasure_restores_nothing(
    discord, connection, monkeypatch, kind
):
    destination = discord.destination(1, actions=HELD)
    message = make_message(connection)
    delivery = Delivery.objects.get()
    if kind == "card":
        made = delivering.card_content
        monkeypatch.setattr(
            delivering,
            "card_content",
            lambda *arguments: (erase_bodies(message), made(*arguments))[1],
        )
        deliver(delivery_id=delivery.pk)
    else:
        Delivery.objects.update(kind="event", card=None)
        delivery.refresh_from_db()
        erase_bodies(message)
        destination.url = destination.url.replace("/api/webhooks/1/token", "/hook")
        destination.kind = "signed_webhook"
        destination.secret = "whsec_AAAA"
        send_event(delivery, destination)
    delivery.refresh_from_db()
    assert delivery.request == ""
    assert delivery.answer == ""
    assert delivery.state == "failed"
