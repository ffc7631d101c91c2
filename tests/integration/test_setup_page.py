"""The set-up page: the state of each step, and what to do next."""

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import AuthResult
from django.db.models.functions import Now

from alerts.models import Destination
from dashboard.first_run import left_of, set_up
from launcher.environment import pick_free_ports
from mirror.models import Connection, Mailbox, Message
from tests.factories import (
    change_row,
    event_body,
    make_message,
    post_event,
)

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


@pytest.mark.slow
def test_empty_desk_begins_with_the_connection_and_the_reminder_is_put_away_until_one_signs_in_again(
    signed_in, admin
):
    assert states() == {
        "connect": "todo", "webhook": "later", "queue": "later",
        "mail": "later", "alerts": "todo", "people": "todo", "letter": "later",
    }  # fmt: skip
    client = signed_in(admin)
    assert "4 of 4 steps are left" in client.get("/setup/").text
    assert client.post("/setup/away/").status_code == 302
    assert "steps are left" not in client.get("/queue/").text
    client.logout()
    assert "4 of 4 steps are left" in signed_in(admin).get("/queue/").text


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


def test_connection_says_which_scopes_each_key_has_and_which_key_is_wrong(connection):
    Connection.objects.update(
        read_key="mm_live_read", key_scopes={"oversight": ["oversight"]}
    )
    connected = step("connect")
    assert connected.state == "done"
    said = "(Oversight key: oversight; Read key: scopes not reported)"
    assert said in connected.summary
    Connection.objects.update(key_scopes={"read": ["send"]})
    connected = step("connect")
    assert connected.state == "wrong"
    assert "enter it under Agent" in connected.problems[0]


def test_webhook_says_what_is_missing_and_what_to_do(client, connection):
    # Without an admin key it shows the address to register.
    address = f"/webhooks/multimail/{connection.webhook_id}/"
    assert address in step("webhook").summary
    Connection.objects.update(admin_key="mm_live_admin")
    assert address not in step("webhook").summary
    Connection.objects.update(upstream_webhook_id="01HOOK")
    assert step("webhook").label == "Test the webhook"
    Connection.objects.update(upstream_webhook_id="", admin_key="")
    # Calls with wrong signatures mean that the secret differs.
    client.post(address, b"{}", content_type="application/json")
    found = step("webhook")
    assert found.state == "wrong"
    assert found.label == "Change the secret"


@pytest.fixture
def mail_server(settings):
    """Return a function that starts a mail server with one account and sets EMAIL_URL
    with this password.
    """

    def login(server, session, envelope, mechanism, data):
        is_right = (data.login, data.password) == (b"desk", b"right")
        return AuthResult(success=is_right, handled=False, auth_data=data.login)

    servers = []

    def start(password):
        [port] = pick_free_ports(1)
        server = Controller(
            Sink(),
            hostname="127.0.0.1",
            port=port,
            authenticator=login,
            auth_require_tls=False,
        )
        server.start()
        servers.append(server)
        settings.EMAIL_URL = f"smtp://desk:{password}@127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop()


@pytest.mark.slow
def test_mail_server_of_the_gateway_here_is_a_step_and_is_asked_whether_it_takes_what_it_gets(
    ready, settings, mail_server
):
    assert "mail" not in states(), "a gateway elsewhere has a mail server of its own"
    settings.MULTIMAIL_API_URL = ready.api_url
    settings.EMAIL_URL = ""
    assert states()["mail"] == "todo"
    assert left_of(set_up()[0]) == "1 of 4 steps is left"
    settings.EMAIL_URL = "smtp://desk:right@127.0.0.1:1"
    assert step("mail").state == "wrong"
    mail_server("hunter2")
    found = step("mail")
    assert "does not accept the user and password in EMAIL_URL" in found.problems[0]
    assert "hunter2" not in str(found)
    mail_server("right")
    assert step("mail").state == "done"
    # Mail that was sent before proves that it works, without a test.
    settings.EMAIL_URL = "smtp://127.0.0.1:1"
    make_message(ready)
    Message.objects.update(state="sent")
    assert step("mail").state == "done"
