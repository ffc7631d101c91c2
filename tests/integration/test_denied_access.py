"""Denied requests of signed-in people are in the ledger, once per minute and URL."""

import pytest
from django.test import Client

from audit.models import Entry
from audit.trail import lines
from tests.factories import make_connection, make_message, make_person


@pytest.fixture
def path(connection):
    return f"/queue/{make_message(connection).public_id}/"


def denied():
    return lines(Entry.objects.of_action("access.denied").oldest_first())


def test_denied_message_is_recorded_with_actor_and_url_once_per_minute(signed_in, path):
    outsider = make_person(
        "olga@yourteam.example",
        "Olga",
        "reviewer",
        connection=make_connection("elsewhere"),
    )
    client = signed_in(outsider)
    for _ in range(3):
        assert client.get(path, REMOTE_ADDR="192.0.2.7").status_code == 404
    client.get(f"{path}body/")
    client.post(f"{path}undo/")
    line, *others = denied()
    assert [(one.details["method"], one.details["path"]) for one in others] == [
        ("GET", f"{path}body/"), ("POST", f"{path}undo/"),
    ]  # fmt: skip
    assert (line.actor_id, line.surface) == (str(outsider.pk), "web")
    assert str(line.message) == path.split("/")[2]
    assert line.details == {
        "actor": "Olga", "address": "192.0.2.7", "method": "GET", "path": path, "status": "404",
    }  # fmt: skip


def test_denied_actions_and_csrf_failures_are_recorded_and_unknown_urls_are_not(
    client, signed_in, auditor, path
):
    assert client.get(path).status_code == 302
    signed_in(auditor)
    for nowhere in ("/nowhere/", "/favicon.ico", "/queue/nonsense/"):
        assert client.get(nowhere).status_code == 404, nowhere
    assert denied() == []

    assert client.get("/people/second-factor/").status_code == 403
    verdict = {"outcome": "approve", "fingerprint": "0" * 64, "reason": ""}
    assert client.post(f"{path}verdict/", verdict).status_code == 403
    # A denied verdict has its own kind of entry.
    assert Entry.objects.of_action("verdict.refused").count() == 1
    (line,) = denied()
    assert line.details["status"] == "403"

    without_token = Client(enforce_csrf_checks=True)
    without_token.force_login(auditor, backend="people.sign_in.backend.PersonBackend")
    assert (
        without_token.post("/people/me/name/", {"name": "Mallory"}).status_code == 403
    )
    assert [line.details["path"] for line in denied()][1:] == ["/people/me/name/"]
