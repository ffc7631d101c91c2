"""Alert pages: destinations of every kind, routes, and the log of deliveries."""

import re

import pytest

from alerts.models import Delivery, Destination, Route
from audit.models import EntryDetail
from tests.alerting import deliver, make_message
from tests.factories import make_connection, make_person

pytestmark = pytest.mark.usefixtures("plans_at_once")

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


def make_destination(**fields):
    return Destination.objects.create(
        **{"name": "Ours", "kind": "signed_webhook", "url": ENDPOINT, **fields}
    )


def make_failed_delivery(destination, message=None, **fields):
    of = {"kind": "event", "action": "message.held", "state": "failed", **fields}
    return Delivery.objects.create(destination=destination, message=message, **of)


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
    assert answer.status_code == 409
    client.post(f"/alerts/{destination.pk}/secret/", {"leaked": "yes"})
    destination.refresh_from_db()
    assert destination.secret_before == ""
    seen = answer.text + client.get("/alerts/").text
    seen += str(list(EntryDetail.objects.values("fields")))
    for hidden in ("whsec_", "a-secret-path", "an-event-key"):
        assert hidden not in seen


def test_address_typed_before_an_error_need_not_be_typed_again(signed_in, admin):
    client = signed_in(admin)
    answer = client.post("/alerts/add/", form("discord", url=HOOK, name=""))
    assert "a-token" not in answer.text
    ticket = re.search(r'name="secrets" value="(\w+)"', answer.text)[1]
    client.post("/alerts/add/", form("discord", url="", secrets=ticket))
    assert Destination.objects.get().url == HOOK


def test_route_is_added_once_and_removed(signed_in, admin, connection):
    destination = make_destination(name="#reviews", kind="discord_webhook", url=HOOK)
    client = signed_in(admin)
    path = f"/alerts/{destination.pk}/routes/add/"
    fields = {"events": ["email.held"], "place": f"connection-{connection.pk}"}
    client.post(path, fields)
    route = Route.objects.get()
    assert route.actions == ["message.held"]
    assert route.connection == connection
    assert client.post(path, fields).status_code == 422
    client.post(f"/alerts/{destination.pk}/routes/{route.pk}/remove/")
    assert not Route.objects.exists()


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


TOKEN = "a-token_that_nobody_may_see"
NUMBER = "1180000000000000427"
PATH = f"/api/webhooks/{NUMBER}/{TOKEN}"


@pytest.fixture
def destination(discord):
    made = Destination.objects.create(name="#approvals", url=discord.url + PATH)
    Route.objects.create(destination=made, actions=["message.held"])
    return made


def test_test_is_posted_without_mentions_and_remembered(
    signed_in, admin, discord, destination, settings
):
    client = signed_in(admin)
    answer = client.post(f"/alerts/{destination.pk}/test/?next=setup")
    assert answer["Location"] == f"/alerts/?next=setup#destination-{destination.pk}"
    [call] = discord.calls
    assert call.path == f"{PATH}?wait=true"
    assert call.body["allowed_mentions"] == {"parse": []}
    assert Destination.objects.proved().get() == destination
    # A test that does not arrive shows the reason on the destination's page.
    discord.next[NUMBER] = [(403, {}, {})]
    answer = client.post(f"/alerts/{destination.pk}/test/")
    assert answer.status_code == 502
    assert "does not let this webhook post" in answer.text
    # An address that is no longer allowed is not called.
    asked = len(discord.calls)
    settings.OUTGOING_ALLOW = []
    assert client.post(f"/alerts/{destination.pk}/test/").status_code == 502
    assert len(discord.calls) == asked


def test_removed_destination_gets_no_deliveries_and_its_address_is_deleted(
    signed_in, admin, connection, discord, destination
):
    make_message(connection)
    delivery = Delivery.objects.get()
    client = signed_in(admin)
    client.post(f"/alerts/{destination.pk}/remove/")
    assert deliver(delivery_id=delivery.pk) == "failed"
    make_message(connection)
    assert discord.calls == []
    assert Delivery.objects.count() == 1
    destination.refresh_from_db()
    assert destination.url == ""
    assert b"No destinations yet" in client.get("/alerts/").content
    assert client.get(f"/alerts/{destination.pk}/").status_code == 404
