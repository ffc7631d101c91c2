"""Whoever is signed in and asks for what is not theirs stands in the ledger, once a minute and address."""

import pytest

from audit.models import Entry
from audit.trail import lines
from tests.factories import make_connection, make_message, make_person

pytestmark = pytest.mark.django_db


@pytest.fixture
def message():
    return make_message(make_connection())


@pytest.fixture
def outsider():
    """A reviewer of another connection alone."""
    return make_person("olga@yourteam.example", "Olga", "reviewer", connection=make_connection("elsewhere"))


def denied():
    return lines(Entry.objects.of_action("access.denied").oldest_first())


def test_row_out_of_reach_is_told_with_who_what_and_from_where(signed_in, outsider, message):
    path = f"/queue/{message.public_id}/"
    assert signed_in(outsider).get(path, REMOTE_ADDR="192.0.2.7").status_code == 404
    (line,) = denied()
    assert (line.entry.actor_kind, line.entry.actor_id) == ("person", str(outsider.pk))
    assert (line.entry.surface, line.entry.message) == ("web", message.public_id)
    assert line.details == {
        "actor": "Olga", "address": "192.0.2.7", "method": "GET", "path": path, "status": "404",
    }  # fmt: skip


def test_act_that_a_role_does_not_include_is_told(signed_in, auditor):
    assert signed_in(auditor).get("/people/second-factor/").status_code == 403
    (line,) = denied()
    assert (line.details["status"], line.details["actor"]) == ("403", "Max Weber")


def test_form_without_its_token_is_told(auditor):
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(auditor, backend="people.backend.PersonBackend")
    assert client.post("/people/me/name/", {"name": "Mallory"}).status_code == 403
    assert [line.details["path"] for line in denied()] == ["/people/me/name/"]


def test_same_address_counts_once_a_minute_and_each_other_one_by_itself(signed_in, outsider, message):
    client = signed_in(outsider)
    for _ in range(3):
        client.get(f"/queue/{message.public_id}/")
    client.get(f"/queue/{message.public_id}/body/")
    client.post(f"/queue/{message.public_id}/undo/")
    assert len(denied()) == 3


def test_verdict_that_was_refused_is_told_once(signed_in, auditor, message):
    fields = {"outcome": "approve", "fingerprint": message.revision.fingerprint, "reason": ""}
    assert signed_in(auditor).post(f"/queue/{message.public_id}/verdict/", fields).status_code == 403
    assert Entry.objects.of_action("verdict.refused").count() == 1
    assert denied() == []


@pytest.mark.parametrize("path", ["/nowhere/", "/favicon.ico", "/queue/nonsense/"])
def test_address_that_leads_nowhere_keeps_nothing_from_anybody(signed_in, auditor, path):
    assert signed_in(auditor).get(path).status_code == 404
    assert denied() == []


def test_whoever_is_not_signed_in_is_led_to_the_door_and_fills_nothing(client, message):
    assert client.get(f"/queue/{message.public_id}/").status_code == 302
    assert denied() == []
