"""The set-up page: the state of each step, and what to do next."""

import pytest
from django.db.models.functions import Now

from alerts.models import Destination
from dashboard.first_run import left_of, set_up
from mirror.models import Mailbox
from tests.factories import change_row, event_body, make_message, post_event

WEBHOOK = "https://discord.com/api/webhooks/1/token"


def states():
    return {step.name: step.state for step in set_up()[0]}


def step(name):
    return next(one for one in set_up()[0] if one.name == name)


@pytest.fixture
def ready(connection, client):
    """A connection whose webhook was called, and that was read just now."""
    post_event(client, connection, event_body("webhook.test"))
    change_row(connection, complete_as_of=Now())
    return connection


def test_steps_are_done_one_by_one(signed_in, admin, ready):
    assert states()["connect"] == states()["webhook"] == states()["queue"] == "done"
    # Discord is optional.
    assert left_of(set_up()[0]) == ""
    assert states()["alerts"] == "todo"
    destination = Destination.objects.create(name="#approvals", url=WEBHOOK)
    assert states()["alerts"] == "todo"
    change_row(destination, tested_at=Now())
    assert states()["alerts"] == "done"

    # The first message is a command to copy.
    Mailbox.objects.update(address="o'hara@yourteam.example")
    page = signed_in(admin).get("/setup/").text
    assert "o&#x27;&quot;&#x27;&quot;&#x27;hara@yourteam.example" in page
    make_message(ready)
    assert states()["letter"] == "done"
