"""The example of docs/contributing-channels.md: a folder alone makes a kind of
destination.
"""

import re
import sys

import pytest

import alerts.channels
from alerts.channels import all_channels
from alerts.models import Delivery, Destination
from tests.alerting import deliver
from tests.conformance.recipes import ROOT
from tests.factories import make_message
from tests.programs import program


def make_folder_of_the_example(channels):
    text = (
        (ROOT / "docs" / "contributing-channels.md")
        .read_text()
        .partition("## A whole example")[2]
    )
    code = re.search(r"```python\n(.*?)```", text, re.S)[1]
    (channels / "relay").mkdir()
    (channels / "relay" / "__init__.py").write_text(code)


@pytest.fixture
def relay(tmp_path, monkeypatch):
    """The kind of the example, installed in its own folder while the test runs."""
    make_folder_of_the_example(tmp_path)
    monkeypatch.setattr(
        alerts.channels, "__path__", [*alerts.channels.__path__, str(tmp_path)]
    )
    all_channels.cache_clear()
    yield
    all_channels.cache_clear()
    sys.modules.pop("alerts.channels.relay", None)


def test_folder_of_the_example_is_offered_added_tested_and_delivered_to(
    relay, signed_in, admin, connection, settings
):
    client = signed_in(admin)
    assert b"Address of the relay" in client.get("/alerts/add/?kind=relay").content
    with program() as receiver:
        settings.OUTGOING_ALLOW = [receiver.url]
        fields = {
            "kind": "relay",
            "name": "Ours",
            "privacy": "headers",
            "events": ["email.held"],
        }
        assert client.post("/alerts/add/", fields).status_code == 422
        client.post("/alerts/add/", {**fields, "url": f"{receiver.url}/a-secret"})
        destination = Destination.objects.get()
        client.post(f"/alerts/{destination.pk}/test/")
        assert b"a-secret" not in client.get("/alerts/").content
        make_message(connection)
        assert deliver(delivery_id=Delivery.objects.get().pk) == "delivered"
        test, held = receiver.posts
        assert test.said["type"] == "desk.test"
        assert held.said["type"] == "email.held"
        receiver.status = 410
        make_message(connection)
        assert (
            deliver(delivery_id=Delivery.objects.get(state="due").pk) == "switched off"
        )
    destination.refresh_from_db()
    reason = "The relay answered 410. It accepts nothing there."
    assert destination.switched_off_because == reason
