"""The pages of the desk as a browser without scripts gets them, whole and as fragments."""

import re

import pytest
from django.db.models.functions import Now

from approvals.decide import give_verdict
from approvals.models import Decision, Message
from audit.models import Entry
from tests.factories import NOW, make_message, make_person, show_row

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


@pytest.fixture
def message(connection):
    return make_message(connection, subject="Invoice 2207 for October")


@pytest.fixture
def desk(signed_in, reviewer):
    return signed_in(reviewer)


def press(client, message, outcome="approve", reason="", fingerprint=None, **headers):
    return client.post(
        f"/queue/{message.public_id}/verdict/",
        {"outcome": outcome, "reason": reason, "fingerprint": fingerprint or message.revision.fingerprint},
        headers=headers,
    )


def actions(message):
    return list(Entry.objects.of_message(message.public_id).values_list("action", flat=True))


def test_queue_shows_what_waits_with_its_count(desk, message):
    page = desk.get("/queue/").content.decode()
    assert "Invoice 2207 for October" in page
    assert re.search(r"<h1[^>]*>\s*1 waiting", re.sub(r"</?(?:strong|span)[^>]*>", "", page))
    assert "<html" in page


def test_inbound_message_names_who_wrote_it_and_no_agent(desk, connection):
    message = make_message(
        connection, direction="inbound", to=["support@yourteam.example"], metadata={},
        **{"from": "dana@northwind.example"},
    )  # fmt: skip
    row = desk.get("/queue/").content.decode()
    assert "dana@northwind.example" in row
    page = desk.get(f"/queue/{message.public_id}/").content.decode()
    assert "From outside, by email" in page
    assert "An agent" not in page
    assert "Release to the agent" in page


def test_queue_answers_htmx_with_the_list_alone(desk, message):
    fragment = desk.get("/queue/", headers=HTMX)
    assert b"<html" not in fragment.content
    assert b"Invoice 2207" in fragment.content
    assert "HX-Request" in fragment["Vary"]


def test_queue_as_json_gives_what_scripts_need(desk, message):
    row = desk.get("/queue/?format=json").json()["messages"][0]
    assert row["id"] == str(message.public_id)
    assert row["fingerprint"] == message.revision.fingerprint
    assert (row["upstream_id"], row["state"], row["subject"]) == (
        message.upstream_id, "held", "Invoice 2207 for October",
    )  # fmt: skip


@pytest.mark.parametrize(
    "query",
    ["?tab=nonsense", "?after=x", "?after=99999999999999999-1", "?after=1-1&tab=done", "?after=x1-1", "?after=1-1-1"],
)
def test_nonsense_in_the_address_is_the_first_page(desk, message, query):
    assert desk.get(f"/queue/{query}").status_code == 200


@pytest.mark.proves("case 3")
def test_fifty_first_message_is_reached_by_links_alone(desk, connection):
    for number in range(51):
        # No two alike, which would stand in one row.
        make_message(connection, markdown=f"About {chr(97 + number // 26)}{chr(97 + number % 26)}")
    first = desk.get("/queue/").content.decode()
    last = Message.objects.order_by("held_at", "pk").last()
    link = f'href="/queue/{last.public_id}/'
    assert link not in first
    following = re.search(r'rel="next" href="([^"]+)"', first)[1]
    assert link in desk.get(following).content.decode()
    twin = desk.get("/queue/?format=json").json()
    assert len(twin["messages"]) == 50
    rest = desk.get(f"/queue/?format=json&after={twin['next_after']}").json()
    assert ([row["id"] for row in rest["messages"]], rest["next_after"]) == ([str(last.public_id)], "")


@pytest.mark.parametrize("count", [3, 12])
def test_queue_costs_the_same_queries_at_any_length(desk, connection, count, django_assert_max_num_queries):
    for _ in range(count):
        make_message(connection)
    with django_assert_max_num_queries(12):
        desk.get("/queue/")


def test_message_page_shows_all_of_it(desk, connection):
    message = make_message(connection, cc=["lee@fabrikam.example"], bcc=["archive@yourteam.example"])
    page = desk.get(f"/queue/{message.public_id}/").content.decode()
    for words in (
        "dana@northwind.example", "lee@fabrikam.example", "archive@yourteam.example", "ana#1",
        message.revision.short_fingerprint, f'src="/queue/{message.public_id}/body/"', 'sandbox=""',
    ):  # fmt: skip
        assert words in page.replace("sandbox ", 'sandbox="" ').replace("sandbox>", 'sandbox="">')


def test_plain_opening_is_noted_once_as_served_and_opened(desk, message):
    for _ in range(3):
        desk.get(f"/queue/{message.public_id}/")
    assert (actions(message).count("message.served"), actions(message).count("message.opened")) == (1, 1)


def test_prefetch_is_served_but_not_opened(desk, message):
    desk.get(f"/queue/{message.public_id}/", headers={"Sec-Purpose": "prefetch"})
    assert "message.served" in actions(message)
    assert "message.opened" not in actions(message)


def test_fragment_is_opened_when_the_page_says_so(desk, message):
    desk.get(f"/queue/{message.public_id}/", headers=HTMX)
    assert "message.opened" not in actions(message)
    assert desk.post(f"/queue/{message.public_id}/opened/").status_code == 204
    assert "message.opened" in actions(message)


def test_message_that_was_approved_is_leaving_and_can_be_undone(desk, message):
    assert press(desk, message).status_code == 302
    page = desk.get(f"/queue/{message.public_id}/").content.decode()
    assert "Leaving" in page
    assert "Undo" in page


def test_approving_by_htmx_answers_with_the_fragment(desk, message):
    answer = press(desk, message, **HTMX)
    assert answer.status_code == 200
    assert b"Leaves in" in answer.content
    assert b"Undo" in answer.content
    assert b"<html" not in answer.content


@pytest.mark.parametrize("outcome", ["reject", "send_back"])
def test_reason_is_asked_for_and_the_page_is_kept(desk, message, outcome):
    answer = press(desk, message, outcome=outcome)
    assert answer.status_code == 422
    assert b"Invoice 2207" in answer.content
    assert Decision.objects.count() == 0


def test_conflict_keeps_what_was_typed(desk, message, second_reviewer):
    give_verdict(
        message=message.public_id, actor=second_reviewer.actor(surface="web"), outcome="approve",
        fingerprint=message.revision.fingerprint, reason="", now=NOW,
    )  # fmt: skip
    answer = press(desk, message, outcome="reject", reason="A long and careful reason")
    assert answer.status_code == 409
    page = answer.content.decode()
    assert "Ben Okafor approved this message first" in page
    assert "A long and careful reason" in page
    assert "verdict.refused" in actions(message)


def test_changed_message_is_refused_with_both_fingerprints(desk, message):
    show_row(message, subject="Invoice 2207 for October", markdown="Pay to another account")
    answer = press(desk, message)
    assert answer.status_code == 409
    assert message.revision.short_fingerprint in answer.content.decode()
    assert Decision.objects.count() == 0


@pytest.mark.parametrize("fingerprint", ["", "zz", "0" * 63, "zz" + "0" * 64, "0" * 65])
def test_form_without_a_proper_fingerprint_is_422(desk, message, fingerprint):
    answer = desk.post(
        f"/queue/{message.public_id}/verdict/", {"outcome": "approve", "fingerprint": fingerprint, "reason": ""}
    )
    assert answer.status_code == 422


def test_auditor_reads_but_is_refused_a_verdict(signed_in, auditor, message):
    client = signed_in(auditor)
    assert b"Invoice 2207" in client.get(f"/queue/{message.public_id}/").content
    assert press(client, message).status_code == 403
    assert Decision.objects.count() == 0


@pytest.mark.parametrize("method", ["get", "head", "put", "delete"])
def test_verdict_is_post_only(desk, message, method):
    assert getattr(desk, method)(f"/queue/{message.public_id}/verdict/?outcome=approve").status_code == 405


def test_verdict_needs_the_form_token(reviewer, message):
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(reviewer, backend="people.backend.PersonBackend")
    answer = press(client, message)
    assert answer.status_code == 403
    assert b"too old" in answer.content
    assert Decision.objects.count() == 0


def test_undo_gives_the_decision_bar_back(desk, message):
    press(desk, message)
    answer = desk.post(f"/queue/{message.public_id}/undo/")
    assert answer.status_code == 302
    assert Decision.objects.get().state == "undone"


def test_late_undo_is_told_that_it_is_late(desk, message):
    press(desk, message)
    Decision.objects.update(state="applied")
    assert desk.post(f"/queue/{message.public_id}/undo/").status_code == 409


def test_link_from_a_card_leads_to_the_message(desk, message):
    answer = desk.get(f"/approvals/{message.upstream_id}/")
    assert answer["Location"] == f"/queue/{message.public_id}/"


def test_address_that_no_row_can_have_is_404(desk):
    assert desk.get("/approvals/a%00b/").status_code == 404


def test_report_of_a_browser_is_read_with_care(client):
    for body in (b"[" * 16_000, b"[]", b"{", b"\xff"):
        assert client.post("/csp-report/", body, content_type="application/csp-report").status_code == 204


def test_same_upstream_id_in_two_connections_asks_which(desk, message):
    from tests.factories import make_connection

    other = make_connection("other")
    Message.objects.create(
        connection=other, upstream_id=message.upstream_id, state="held", held_at=NOW, subject="The other one"
    )
    page = desk.get(f"/approvals/{message.upstream_id}/").content.decode()
    assert "The other one" in page
    assert "Invoice 2207" in page


def test_pulse_is_unchanged_until_something_happens(desk, connection, message):
    def is_unchanged():
        return (
            desk.get("/queue/pulse/", headers={"If-None-Match": desk.get("/queue/pulse/")["ETag"]}).status_code == 304
        )

    first = desk.get("/queue/pulse/")
    assert first.json()["waiting"] == 1
    # Twice a minute it is told anew: not two times in a row.
    assert is_unchanged() or is_unchanged()
    make_message(connection)
    Message.objects.update(changed_at=Now())
    assert desk.get("/queue/pulse/", headers={"If-None-Match": first["ETag"]}).status_code == 200


def test_trace_tells_the_story_in_order(desk, message):
    press(desk, message, outcome="reject", reason="Wrong amount")
    page = desk.get(f"/audit/trace/{message.public_id}/").content.decode()
    for words in ("Ana Ferreira", "Wrong amount", "ana#1", "outreach", "Acme"):
        assert words in page
    entries = desk.get(f"/audit/trace/{message.public_id}/?format=json").json()["entries"]
    assert [entry["action"] for entry in entries][:2] == ["message.held", "message.fetched"]
    assert entries[-1]["action"] == "decision.recorded"


def test_hostile_subject_is_text_on_every_page(desk, connection):
    message = make_message(connection, subject="<script>alert(1)</script><b hx-get=/x>")
    for path in ("/queue/", f"/queue/{message.public_id}/", "/audit/", f"/audit/trace/{message.public_id}/", "/"):
        page = desk.get(path).content.decode()
        assert "<script>alert(1)" not in page
        assert "<b hx-get" not in page


def test_mail_frame_cannot_act(desk, connection):
    message = make_message(connection, markdown="Hi **bold** <img src=https://t.example/o.gif>\n\n<script>x()</script>")
    answer = desk.get(f"/queue/{message.public_id}/body/")
    assert "sandbox" in answer["Content-Security-Policy"]
    assert b"<strong>bold</strong>" in answer.content
    assert b"<script" not in answer.content
    assert b"src=" not in answer.content


def test_sign_in_fails_alike_for_known_and_unknown_people(client, reviewer):
    answers = [
        client.post("/accounts/login/", {"login": email, "password": "wrong"})
        for email in (reviewer.email, "nobody@yourteam.example")
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert Entry.objects.filter(action="person.sign_in_failed").count() == 2


def test_mailboxes_out_of_reach_are_named_nowhere(signed_in, connection):
    mine = connection.mailboxes.get()
    connection.mailboxes.create(upstream_id="02", address="board@yourteam.example")
    client = signed_in(make_person("x@yourteam.example", "X", "reviewer", connection=connection, mailbox=mine))
    for path in ("/", "/connections/", "/queue/", "/alerts/", "/audit/", "/history/"):
        page = client.get(path).content.decode()
        assert "board@yourteam.example" not in page, path
    assert "support@yourteam.example" in client.get("/connections/").content.decode()
