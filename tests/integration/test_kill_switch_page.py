"""The kill switch page and its banner: who may pull and release what, what is said, holding all at the gateway."""

import pytest

from approvals.models import Connection
from audit.models import Entry
from policy.kill_switch import pull
from policy.models import KillSwitch
from tests.factories import make_connection, make_person
from tests.standin import multimail

pytestmark = pytest.mark.django_db
REASON = "A flood of refunds that nobody asked for"


def press(client, scope="all", reason=REASON):
    return client.post("/stop/pull/", {"scope": scope, "reason": reason})


def asked_of_the_gateway():
    return [entry.action for entry in Entry.objects.oldest_first() if "hold_all" in entry.action]


@pytest.fixture
def gateway(connection):
    """The gateway of this connection, which says of itself what a test makes it say."""
    with multimail() as standin:
        standin.answers["/v1/account"] = (200, {"id": "1", "hold_all": False})
        Connection.objects.update(api_url=standin.url, admin_key="mm_live_admin")
        yield standin


@pytest.mark.proves("security 25")
def test_pulling_stops_and_is_audited(signed_in, reviewer, connection):
    answer = press(signed_in(reviewer))
    assert (answer.status_code, answer["Location"]) == (302, "/stop/")
    switch = KillSwitch.objects.get()
    assert (switch.reason, switch.pulled_by, switch.released_at) == (REASON, reviewer, None)
    entry = Entry.objects.get(action="kill_switch.pulled")
    assert (entry.actor_id, entry.surface, entry.detail.fields["reason"]) == (str(reviewer.pk), "web", REASON)


@pytest.mark.proves("security 25")
def test_releasing_is_an_admins_and_audited(signed_in, reviewer, admin, connection):
    press(signed_in(reviewer))
    switch = KillSwitch.objects.get()
    assert signed_in(reviewer).post(f"/stop/{switch.pk}/release/").status_code == 403
    assert signed_in(admin).post(f"/stop/{switch.pk}/release/").status_code == 302
    switch.refresh_from_db()
    assert switch.released_by == admin
    assert Entry.objects.filter(action="kill_switch.released").count() == 1
    assert signed_in(admin).post(f"/stop/{switch.pk}/release/").status_code == 404


PAGES = ("/", "/queue/", "/history/", "/audit/", "/alerts/", "/connections/", "/attention/", "/stop/")


@pytest.mark.parametrize("path", PAGES)
def test_while_pulled_every_page_says_who_when_what_why_and_what_still_goes(signed_in, admin, auditor, path):
    switch = pull(actor=admin.actor(surface="web"), reason=REASON)
    page = signed_in(auditor).get(path).content.decode()
    banner = page.partition('id="stopped"')[2].partition("</div></div>")[0].partition("rail")[0]
    for words in (
        "Everything is stopped.", "Ida Lindqvist", f"{switch.pulled_at:%H:%M:%S}", REASON,
        "scheduled already", "needs no approval, still goes",
    ):  # fmt: skip
        assert words in banner, words
    assert "hidden" not in banner.partition(">")[0]


def test_without_a_switch_no_page_says_so(signed_in, auditor):
    page = signed_in(auditor).get("/queue/").content.decode()
    assert "is stopped." not in page
    assert "is-stopped" not in page


def test_open_pages_learn_of_it_by_the_pulse(signed_in, admin, connection):
    client = signed_in(admin)
    before = client.get("/queue/pulse/")
    assert before.json()["stopped"] == []
    switch = pull(actor=admin.actor(surface="web"), reason=REASON)
    after = client.get("/queue/pulse/", headers={"If-None-Match": before["ETag"]})
    assert (after.status_code, after.json()["stopped"]) == (200, [switch.pk])
    fragment = client.get("/stop/banner/").content.decode()
    assert REASON in fragment
    assert "<html" not in fragment


def test_switch_elsewhere_is_not_shown_to_those_whom_it_does_not_stop(signed_in, admin, connection):
    mine = connection.mailboxes.get()
    other = connection.mailboxes.create(upstream_id="02", address="board@yourteam.example")
    actor = admin.actor(surface="web")
    person = make_person("x@yourteam.example", "X", "reviewer", connection=connection, mailbox=mine)
    client = signed_in(person)
    theirs = pull(actor=actor, reason="Not yours", mailbox=other)
    pull(actor=actor, reason="Not yours either", connection=make_connection("other"))
    page = client.get("/stop/").content.decode()
    assert "Not yours" not in page
    assert "board@yourteam.example" not in page
    assert client.post(f"/stop/{theirs.pk}/release/").status_code == 404
    pull(actor=actor, reason="All of mine", connection=connection)
    assert "All of mine" in client.get("/queue/").content.decode()
    pull(actor=actor, reason="All of everything")
    assert "All of everything" in client.get("/queue/").content.decode()


@pytest.mark.parametrize(
    ("role", "scope", "status"),
    [
        ("reviewer", "mailbox", 302),
        ("reviewer", "connection", 422),
        ("reviewer", "all", 422),
        ("auditor", "mailbox", 422),
    ],
)
def test_nobody_stops_more_than_their_own(signed_in, connection, role, scope, status):
    mailbox = connection.mailboxes.get()
    person = make_person("x@yourteam.example", "X", role, connection=connection, mailbox=mailbox)
    value = {"mailbox": f"mailbox-{mailbox.pk}", "connection": f"connection-{connection.pk}", "all": "all"}[scope]
    assert press(signed_in(person), value).status_code == status
    assert KillSwitch.objects.count() == (1 if status == 302 else 0)


def test_without_a_reason_nothing_is_stopped_and_the_choice_is_kept(signed_in, reviewer, connection):
    answer = press(signed_in(reviewer), f"connection-{connection.pk}", "  ")
    page = answer.content.decode()
    assert answer.status_code == 422
    assert f'value="connection-{connection.pk}" selected' in page
    assert "Say why" in page
    assert KillSwitch.objects.count() == 0


def test_pulled_twice_stays_the_first_ones(signed_in, reviewer, second_reviewer, connection):
    press(signed_in(reviewer))
    assert press(signed_in(second_reviewer), reason="Later").status_code == 302
    assert KillSwitch.objects.get().reason == REASON


def test_page_says_what_is_not_stopped_and_only_offers_what_may_be_done(signed_in, auditor, connection):
    page = signed_in(auditor).get("/stop/").content.decode()
    for words in ("Nothing is stopped.", "approved before, and waits at MultiMail", "need no approval"):
        assert words in page
    assert "<form" not in page.partition("<main")[2].partition("</main>")[0]


def test_gateway_holds_all_for_an_admin_who_asks_and_that_is_audited(signed_in, admin, connection, gateway):
    client = signed_in(admin)
    assert b"Hold all mail at the gateway" in client.get("/stop/").content
    gateway.answers["/v1/account"] = (200, {"id": "1", "hold_all": True})
    assert client.post(f"/stop/gateway/{connection.pk}/", {"hold": "on"}).status_code == 302
    assert ("PATCH", "/v1/account", {"hold_all": True}) in gateway.calls
    assert b"Holds all" in client.get("/stop/").content
    assert asked_of_the_gateway() == ["connection.hold_all_on"]


def test_gateway_that_does_not_do_it_is_told_as_such(signed_in, admin, connection, gateway):
    gateway.answers["/v1/account"] = (403, {"error": "This key may not."})
    answer = signed_in(admin).post(f"/stop/gateway/{connection.pk}/", {"hold": "on"})
    assert answer.status_code == 502
    assert b"MultiMail answered 403: This key may not." in answer.content
    assert asked_of_the_gateway() == ["connection.hold_all_on", "connection.hold_all_failed"]


def test_gateway_that_wants_a_code_first_has_not_done_it(signed_in, admin, connection, gateway):
    gateway.answers["/v1/account"] = (202, {"status": "pending_approval", "message": "Ask an operator for the code."})
    answer = signed_in(admin).post(f"/stop/gateway/{connection.pk}/", {"hold": "off"})
    assert answer.status_code == 502
    assert b"Ask an operator for the code." in answer.content


def test_gateway_that_is_away_leaves_the_page_standing(signed_in, admin, connection):
    Connection.objects.update(api_url="http://127.0.0.1:1", admin_key="mm_live_admin")
    page = signed_in(admin).get("/stop/")
    assert page.status_code == 200
    assert b"Not known" in page.content


@pytest.mark.parametrize("role", ["reviewer", "auditor"])
def test_only_admins_of_the_connection_have_its_gateway_asked(signed_in, connection, gateway, role):
    client = signed_in(make_person("x@yourteam.example", "X", role))
    assert b"Hold all mail at" not in client.get("/stop/").content
    assert client.post(f"/stop/gateway/{connection.pk}/", {"hold": "on"}).status_code == 403
    stranger = make_person("y@yourteam.example", "Y", "admin", connection=make_connection("other"))
    assert signed_in(stranger).post(f"/stop/gateway/{connection.pk}/", {"hold": "on"}).status_code == 404
    assert gateway.calls == []


def test_hosted_multimail_is_not_asked_to_hold_all(signed_in, admin, connection, gateway):
    Connection.objects.update(is_our_gateway=False)
    client = signed_in(admin)
    assert b"Hold all mail at" not in client.get("/stop/").content
    assert client.post(f"/stop/gateway/{connection.pk}/", {"hold": "on"}).status_code == 403
    assert gateway.calls == []
