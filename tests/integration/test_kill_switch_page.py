"""The kill switch page and its banner: permissions, wording, and `hold_all` at the
gateway.
"""

import re

import pytest

from audit.models import Entry
from mirror.models import Connection
from policy.kill_switch import pull
from policy.models import KillSwitch
from tests.factories import actor_of, make_connection, make_person
from tests.markup import leads_to, says
from tests.standin import multimail

REASON = "A flood of refunds that nobody asked for"


def press(client, scope="all", reason=REASON):
    return client.post("/stop/pull/", {"scope": scope, "reason": reason})


def asked_of_the_gateway():
    return [
        entry.action
        for entry in Entry.objects.oldest_first()
        if "hold_all" in entry.action
    ]


@pytest.fixture
def gateway(connection):
    """The gateway of this connection, with a status that tests can set."""
    with multimail() as standin:
        standin.answers["/v1/account"] = (200, {"id": "1", "hold_all": False})
        Connection.objects.update(api_url=standin.url, admin_key="mm_live_admin")
        yield standin


def test_pulled_switch_is_shown_with_person_time_scope_and_reason(
    signed_in, admin, auditor
):
    """That every page has the banner: test_permissions.py."""
    switch = pull(actor=actor_of(admin), reason=REASON)
    page = signed_in(auditor).get("/queue/").text
    banner = page.partition('id="stopped"')[2].partition("rail")[0]
    banner = banner.partition("</div></div>")[0]
    time = f"{switch.pulled_at:%H:%M:%S}"
    for words in ("Everything is stopped.", "Ida Lindqvist", time, REASON):
        assert words in banner, words
    assert "hidden" not in banner.partition(">")[0]


@pytest.mark.slow
def test_open_pages_learn_of_it_by_polling(signed_in, admin, connection):
    client = signed_in(admin)
    before = client.get("/queue/pulse/")
    assert before.json()["stopped"] == []
    switch = pull(actor=actor_of(admin), reason=REASON)
    after = client.get("/queue/pulse/", headers={"If-None-Match": before["ETag"]})
    assert after.status_code == 200
    assert after.json()["stopped"] == [switch.pk]


def test_switch_is_shown_only_to_people_it_affects(signed_in, admin, connection):
    mine = connection.mailboxes.get()
    other = connection.mailboxes.create(
        upstream_id="02", address="board@yourteam.example"
    )
    actor = actor_of(admin)
    person = make_person(
        "x@yourteam.example", "X", "reviewer", connection=connection, mailbox=mine
    )
    client = signed_in(person)
    theirs = pull(actor=actor, reason="Not yours", mailbox=other)
    pull(actor=actor, reason="Not yours either", connection=make_connection("other"))
    page = client.get("/stop/").text
    assert "Not yours" not in page
    assert "board@yourteam.example" not in page
    assert client.post(f"/stop/{theirs.pk}/release/").status_code == 404
    pull(actor=actor, reason="All of mine", connection=connection)
    fragment = client.get("/stop/banner/").text
    assert "All of mine" in fragment
    assert not re.search("Not yours|<html", fragment)


def test_switch_needs_a_reason_and_the_right_for_its_scope(signed_in, connection):
    mailbox = connection.mailboxes.get()
    mine = f"mailbox-{mailbox.pk}"
    client = signed_in(
        make_person("x@yourteam.example", "X", "reviewer", mailbox=mailbox)
    )
    assert press(client, f"connection-{connection.pk}").status_code == 422
    chosen = f'value="{mine}" selected'
    says(press(client, mine, "  "), 422, "Enter a reason", chosen)
    assert not KillSwitch.objects.exists()
    assert leads_to(press(client, mine)) == "/stop/"
    assert KillSwitch.objects.count() == 1


def test_gateway_holds_all_for_an_admin_who_asks_and_that_is_audited(
    signed_in, admin, connection, gateway
):
    client = signed_in(admin)
    assert b"Hold all mail at the gateway" in client.get("/stop/").content
    gateway.answers["/v1/account"] = (200, {"id": "1", "hold_all": True})
    assert (
        client.post(f"/stop/gateway/{connection.pk}/", {"hold": "on"}).status_code
        == 302
    )
    assert ("PATCH", "/v1/account", {"hold_all": True}) in gateway.calls
    assert b"Holds all" in client.get("/stop/").content
    assert asked_of_the_gateway() == ["connection.hold_all_on"]


@pytest.mark.slow
def test_gateway_that_fails_or_asks_for_a_code_is_reported(
    signed_in, admin, connection, gateway
):
    client = signed_in(admin)
    path = f"/stop/gateway/{connection.pk}/"
    wants_code = {"status": "pending_approval", "message": "Ask for the code."}
    for answer, words in (
        ((202, wants_code), "Ask for the code."),
        ((403, {"error": "No."}), "MultiMail answered 403: No."),
    ):
        gateway.answers["/v1/account"] = answer
        says(client.post(path, {"hold": "on"}), 502, words)
    assert (
        asked_of_the_gateway()
        == ["connection.hold_all_on", "connection.hold_all_failed"] * 2
    )


def test_only_our_gateway_is_asked_to_hold_all_and_only_for_its_admins(
    signed_in, admin, connection, gateway
):
    path = f"/stop/gateway/{connection.pk}/"
    client = signed_in(make_person("x@yourteam.example", "X", "reviewer"))
    assert b"Hold all mail at" not in client.get("/stop/").content
    assert client.post(path, {"hold": "on"}).status_code == 403
    # Hosted MultiMail does not offer it.
    Connection.objects.update(is_our_gateway=False)
    client = signed_in(admin)
    assert b"Hold all mail at" not in client.get("/stop/").content
    assert client.post(path, {"hold": "on"}).status_code == 403
    assert gateway.calls == []
