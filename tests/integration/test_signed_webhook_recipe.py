"""The receiver of the documentation, unchanged, called by the desk."""

import sys

import pytest
import requests

from alerts.channels import channel_of
from alerts.deliveries.event_bodies import send_event
from alerts.models import Destination
from launcher.environment import pick_free_ports
from tests.conformance import recipes
from tests.factories import make_message
from tests.integration.test_events_out import tell, try_out
from tests.serving import named
from tests.stack import wait_for


@pytest.fixture
def receiver(tmp_path):
    """The running recipe: its destination, and the file that it prints to."""
    port = pick_free_ports(1)[0]
    out = tmp_path / "out"
    secret = channel_of("signed_webhook").new_secret()
    url = f"http://127.0.0.1:{port}"
    env = {
        "PATH": "",
        "PYTHONUNBUFFERED": "1",
        "SIGNING_SECRET": secret,
        "PORT": str(port),
    }
    command = [sys.executable, str(recipes.RECIPES / "signed_webhook.py")]
    with recipes.running(command, env=env, log=out), named(url):
        wait_for(
            lambda: requests.get(url, timeout=5).status_code == 501,
            30,
            "the receiver to listen",
        )
        fields = {"kind": "signed_webhook", "name": "Recipe", "url": f"{url}/in"}
        yield Destination.objects.create(secret=secret, **fields), out


@pytest.mark.slow
def test_receiver_takes_what_the_desk_signed_once_and_nothing_else(
    connection, receiver
):
    destination, out = receiver
    message = make_message(connection)
    delivery = tell(destination, message, "message.rejected")
    assert try_out(destination, within=10.0).accepted
    for _ in range(2):
        assert send_event(delivery).status == 204
    line = f"email.decided {message.upstream_id} rejected"
    assert out.read_text().count(line) == 1
    # One signed with another secret, and one without a signature.
    stranger = Destination(
        kind="signed_webhook",
        url=destination.url,
        secret=channel_of("signed_webhook").new_secret(),
    )
    assert "(401)" in try_out(stranger, within=10.0).sentence
    assert requests.post(destination.url, data=b"{}", timeout=10).status_code == 401
