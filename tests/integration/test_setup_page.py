"""The page of the first run: each step read from what is there, in words that say what to do."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils.crypto import get_random_string

from alerts.models import Destination
from approvals.models import Connection, Mailbox
from dashboard.setup import set_up
from people.models import Invitation
from tests.factories import event_body, make_connection, make_message, make_person, post_event

pytestmark = pytest.mark.django_db

WEBHOOK = "https://discord.com/api/webhooks/1/token"


def states():
    return {step.name: step.state for step in set_up().steps}


def step(name):
    return next(one for one in set_up().steps if one.name == name)


@pytest.fixture
def ready(connection, client):
    """A connection whose keys were asked about, whose webhook called, and that was read just now."""
    post_event(client, connection, event_body("webhook.test"))
    checked = {"key_scopes": {"oversight": ["oversight"]}, "keys_checked_at": Now(), "complete_as_of": Now()}
    Connection.objects.filter(pk=connection.pk).update(**checked)
    return connection


def test_empty_desk_begins_with_the_connection_and_the_exact_command(signed_in, admin):
    assert states() == {
        "connect": "todo", "keys": "later", "webhook": "later", "queue": "later",
        "alerts": "todo", "people": "todo", "letter": "later",
    }  # fmt: skip
    page = signed_in(admin).get("/setup/").content.decode()
    assert "./run manage gateway_account --name &quot;Your team&quot;" in page.replace('"Your', "&quot;Your").replace(
        'team"', "team&quot;"
    )
    assert "5 of 5 steps are left" in page
    assert page.count("btn go") == 1


def test_steps_are_done_one_by_one_and_the_reminder_goes(signed_in, admin, ready):
    client = signed_in(admin)
    assert states()["connect"] == states()["keys"] == states()["webhook"] == states()["queue"] == "done"
    assert "1 of 5 steps is left" in client.get("/").content.decode()
    destination = Destination.objects.create(name="#approvals", url=WEBHOOK)
    assert step("alerts").said == "#approvals has not taken a test yet."
    Destination.objects.filter(pk=destination.pk).update(tested_at=Now())
    assert (states()["alerts"], set_up().left) == ("done", "")
    assert "Set up the desk" not in client.get("/").content.decode()
    assert "Everything that is needed is done" in client.get("/setup/").content.decode()


def test_each_step_leads_to_its_page_and_back(signed_in, admin, connection):
    for one in set_up().steps:
        if one.state in ("todo", "wrong") and one.name != "letter":
            assert "next=%2Fsetup%2F" in one.url, one
    found = [one for one in set_up().steps if one.is_next]
    assert [one.name for one in found] == ["keys"]


@pytest.mark.parametrize(
    ("scopes", "says"),
    [
        ({"oversight": ["read", "send"]}, "Oversight: This key may also send mail"),
        ({"oversight": ["read"]}, "Oversight: This is a read key"),
        ({"oversight": ["admin", "read"]}, "it belongs into Admin"),
        ({"oversight": ["oversight"], "agent": ["oversight"]}, "Agent: This is an oversight key"),
    ],
)
def test_key_in_the_wrong_place_is_told(connection, scopes, says):
    held = {"agent_key": "mm_live_agent"} if "agent" in scopes else {}
    Connection.objects.update(key_scopes=scopes, keys_checked_at=Now(), **held)
    found = step("keys")
    assert found.state == "wrong"
    assert says in " ".join(found.problems)


def test_paused_connection_says_what_paused_it(connection):
    Connection.objects.update(paused_at=Now(), paused_because="MultiMail does not take the oversight key.")
    assert step("keys").problems == ("MultiMail does not take the oversight key. Put in a key that MultiMail takes.",)
    assert step("queue").state == "wrong"


def test_connection_that_a_person_paused_has_no_wrong_key(ready):
    Connection.objects.update(paused_at=Now(), paused_because="Ida paused it: holidays", paused_by_hand=True)
    assert (states()["keys"], states()["queue"]) == ("done", "wrong")
    assert "holidays" in step("queue").said


def test_key_of_the_sandbox_is_told(ready):
    assert "sandbox" not in step("keys").said
    connection = Connection.objects.get()
    connection.oversight_key = "mm_test_key"
    connection.save()
    assert "only test mail comes in" in step("keys").said


def test_forged_calls_say_that_the_secret_differs(client, connection):
    client.post(f"/webhooks/multimail/{connection.webhook_id}/", b"{}", content_type="application/json")
    found = step("webhook")
    assert (found.state, found.label) == ("wrong", "Change the secret")
    assert "not the one it signs with" in found.said


def test_desk_that_hosted_multimail_cannot_reach_says_so(connection, settings):
    settings.PUBLIC_URL = "http://127.0.0.1:8000"
    Connection.objects.update(api_url="https://api.multimail.dev", is_our_gateway=False)
    assert "Set PUBLIC_URL" in step("webhook").said


def test_webhook_without_an_admin_key_gives_the_address_to_register(connection):
    assert f"/webhooks/multimail/{connection.webhook_id}/" in step("webhook").said
    Connection.objects.update(admin_key="mm_live_admin")
    assert connection.webhook_id not in step("webhook").said


def test_registered_webhook_asks_for_its_test(connection):
    Connection.objects.update(upstream_webhook_id="01HOOK", admin_key="mm_live_admin")
    assert (step("webhook").state, step("webhook").label) == ("todo", "Test the webhook")


def test_read_that_fails_says_why_and_does_not_count_once_it_has_worked(ready):
    Connection.objects.update(failing_since=Now(), last_error="MultiMail could not be reached.")
    found = step("queue")
    assert found.state == "wrong"
    assert "could not be reached" in found.said
    assert not found.is_left
    Connection.objects.update(complete_as_of=None)
    assert step("queue").is_left


def test_switched_off_destination_is_wrong_with_its_reason(ready):
    Destination.objects.create(name="#ops", url=WEBHOOK, switched_off_at=Now(), switched_off_because="Discord: 404.")
    assert step("alerts").state == "wrong"
    assert "#ops is switched off: Discord: 404." in step("alerts").said


def test_removed_connection_and_destination_do_not_count(ready):
    Destination.objects.create(name="#ops", url="", tested_at=Now(), removed_at=Now(), switched_off_at=Now())
    assert states()["alerts"] == "todo"
    Connection.objects.update(removed_at=Now())
    assert states()["connect"] == "todo"


def test_second_connection_that_is_not_ready_is_the_one_that_is_shown(ready):
    other = make_connection("other")
    assert set_up().connection == other
    assert states()["keys"] == "todo"
    other.delete()
    assert set_up().connection == ready


def test_invited_and_joined_people_are_told(admin, ready):
    assert states()["people"] == "todo"
    Invitation.objects.create(
        email="eva@example.com",
        token_hash=get_random_string(64),
        invited_by=admin,
        expires_at=Now() + timedelta(days=1),
    )
    assert step("people").said == "1 person is invited, and did not join yet."
    make_person("eva@example.com", "Eva", "reviewer")
    assert step("people").said == "You and 1 other can sign in."


def test_first_letter_is_a_line_to_copy_for_the_mailbox_and_done_when_it_comes(signed_in, admin, ready, settings):
    Mailbox.objects.update(address="o'hara@yourteam.example")
    client = signed_in(admin)
    page = client.get("/setup/").content.decode()
    assert "/v1/send_email" in page
    assert "AGENT-KEY" in page
    assert "o&#x27;&quot;&#x27;&quot;&#x27;hara@yourteam.example" in page
    make_message(ready)
    assert states()["letter"] == "done"
    assert "AGENT-KEY" not in client.get("/setup/").content.decode()


def test_reminder_is_put_away_until_one_signs_in_again(signed_in, admin):
    client = signed_in(admin)
    assert "5 of 5 steps are left" in client.get("/queue/").content.decode()
    assert client.post("/setup/away/").status_code == 302
    for path in ("/", "/queue/"):
        assert "steps are left" not in client.get(path).content.decode()
    assert "5 of 5 steps are left" in client.get("/setup/").content.decode()
    client.logout()
    assert "5 of 5 steps are left" in signed_in(admin).get("/").content.decode()


@pytest.mark.parametrize("role", ["reviewer", "auditor", "admin"])
def test_others_neither_see_nor_are_reminded(signed_in, connection, role):
    scope = {"connection": connection} if role == "admin" else {}
    client = signed_in(make_person("x@yourteam.example", "X", role, **scope))
    assert client.get("/setup/").status_code == 403
    assert client.post("/setup/away/").status_code == 403
    assert "/setup/" not in client.get("/").content.decode()


def test_page_asks_no_more_of_many_messages(signed_in, admin, ready, django_assert_max_num_queries):
    for _ in range(5):
        make_message(ready)
    client = signed_in(admin)
    with django_assert_max_num_queries(32):
        client.get("/setup/")
