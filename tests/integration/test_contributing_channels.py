"""The example of docs/contributing-channels.md: a folder alone makes a kind of
destination.
"""

import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

import alerts.channels
from alerts.channels import all_channels
from alerts.models import Delivery, Destination, Route
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
    monkeypatch.setattr("alerts.deliveries.planning.CONTENT_PAUSE", timedelta(0))
    all_channels.cache_clear()
    yield
    all_channels.cache_clear()
    sys.modules.pop("alerts.channels.relay", None)


def test_folder_of_the_example_is_offered_added_tested_and_delivered_to(
    relay, signed_in, admin, connection, settings
):
    client = signed_in(admin)
    assert (
        b"Events without a signature. Needs an address."
        in client.get("/alerts/add/").content
    )
    assert b"Address of the relay" in client.get("/alerts/add/?kind=relay").content
    with program() as receiver:
        settings.OUTGOING_ALLOW = [receiver.url]
        fields = {
            "kind": "relay",
            "name": "Ours",
            "privacy": "headers",
            "events": ["email.held"],
        }
        assert b"Put in its address." in client.post("/alerts/add/", fields).content
        assert (
            client.post(
                "/alerts/add/", {**fields, "url": f"{receiver.url}/a-secret"}
            ).status_code
            == 302
        )
        destination = Destination.objects.get()
        assert client.post(f"/alerts/{destination.pk}/test/").status_code == 302
        assert b"a-secret" not in client.get("/alerts/").content
        path = f"/alerts/{destination.pk}/routes/add/"
        preview = client.post(path, {"events": ["email.sent"], "do": "preview"}).content
        assert b"&quot;type&quot;: &quot;email.sent&quot;" in preview
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
    assert destination.switched_off_because == "The relay no longer accepts events."


def test_contracts_hold_once_the_folder_is_added_as_step_9_says(tmp_path):
    listed = subprocess.run(
        ["git", "ls-files", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    make_folder_of_the_example(tmp_path / "alerts" / "channels")
    contracts = (ROOT / "pyproject.toml").read_text()
    beside_slack = contracts.replace('| slack",', '| slack | relay",', 1)
    for text, kept in ((contracts, False), (beside_slack, True)):
        (tmp_path / "pyproject.toml").write_text(text)
        lint = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
        done = subprocess.run(lint, cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode == 0) is kept, done.stdout


def test_every_folder_is_a_kind_with_what_the_form_needs():
    kinds = all_channels()
    assert len(kinds) == 5
    for kind, channel in kinds.items():
        assert len(kind) <= 20
        assert {field.name for field in channel.fields} <= {"url", "channel", "secret"}
        assert channel.label
        assert channel.summary
        assert channel.service
        assert channel.hosts or channel.makes_secret


@pytest.mark.parametrize("kind", ["event", "card"])
def test_destination_without_its_folder_says_so_and_is_switched_off_by_its_next_delivery(
    kind, signed_in, admin, connection
):
    destination = Destination.objects.create(
        kind="relay", name="Ours", privacy="headers"
    )
    Route.objects.create(destination=destination, actions=["message.held"])
    make_message(connection)
    if kind == "event":
        Delivery.objects.update(kind="event", card=None)
    Delivery.objects.update(next_attempt_at="2026-01-01T00:00Z")
    client = signed_in(admin)
    own = f"/alerts/{destination.pk}/"
    for page in ("/alerts/", own):
        assert "Not installed" in client.get(page).text
    assert client.get(f"{own}routes/add/").status_code == 200
    assert "This kind is not installed." in client.post(f"{own}test/").text
    assert deliver(delivery_id=Delivery.objects.get().pk) == "switched off"
    destination.refresh_from_db()
    assert destination.switched_off_because == "This kind is not installed."
