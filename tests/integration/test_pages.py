"""The pages of the desk as a browser without scripts gets them, whole and as fragments."""

import re

import pytest
from django.db.models.functions import Now

from approvals.decisions.forms import VerdictForm
from approvals.models import Decision
from approvals.queue import views as listing
from mirror.models import Message
from tests.factories import NOW, make_connection, make_message, make_person
from tests.markup import HTMX


@pytest.fixture
def message(connection):
    return make_message(connection, subject="Invoice 2207 for October")


def press(client, message):
    fields = {
        "outcome": "approve",
        "reason": "",
        "fingerprint": message.revision.fingerprint,
    }
    return client.post(f"/queue/{message.public_id}/verdict/", fields)


def test_queue_shows_what_waits_to_people_to_htmx_and_to_scripts(desk, message):
    page = desk.get("/queue/").text
    assert "Invoice 2207 for October" in page
    assert re.search(
        r"<h1[^>]*>\s*1 waiting", re.sub(r"</?(?:strong|span)[^>]*>", "", page)
    )
    assert "<html" in page
    fragment = desk.get("/queue/", headers=HTMX)
    assert b"<html" not in fragment.content
    assert b"Invoice 2207" in fragment.content
    assert "HX-Request" in fragment["Vary"]
    (row,) = desk.get("/queue/?format=json").json()["messages"]
    assert row["id"] == str(message.public_id)
    assert row["fingerprint"] == message.revision.fingerprint
    assert row["upstream_id"] == message.upstream_id
    assert row["state"] == "held"
    assert row["subject"] == "Invoice 2207 for October"


def test_fifty_first_message_is_reached_by_links_alone(desk, connection, monkeypatch):
    assert listing.PAGE == 50
    # The same with pages of two, so that the third stands where the fifty-first would.
    monkeypatch.setattr(listing, "PAGE", 2)
    for name in ("plums", "kiwis", "figs"):
        # No similar messages, which would share one row.
        make_message(connection, markdown=f"About {name}")
    first = desk.get("/queue/").text
    last = Message.objects.order_by("held_at", "pk").last()
    link = f'href="/queue/{last.public_id}/'
    assert link not in first
    following = re.search(r'rel="next" href="([^"]+)"', first)[1]
    assert link in desk.get(following).text
    twin = desk.get("/queue/?format=json").json()
    assert len(twin["messages"]) == 2
    rest = desk.get(f"/queue/?format=json&after={twin['next_after']}").json()
    assert [row["id"] for row in rest["messages"]] == [str(last.public_id)]
    assert rest["next_after"] == ""


def test_approving_leads_on_without_scripts_and_is_undone_until_it_has_left(
    desk, message
):
    assert press(desk, message).status_code == 302
    assert desk.post(f"/queue/{message.public_id}/undo/").status_code == 302
    assert Decision.objects.get().state == "undone"
    Decision.objects.update(state="applied")
    assert (
        desk.post(f"/queue/{message.public_id}/undo/", headers=HTMX).status_code == 409
    )


EMPTY = {
    "/queue/?tab=mine": "Nothing in Mine",
    "/queue/?tab=leaving": "Nothing is being sent",
    "/queue/?tab=unknown": "Nothing is unconfirmed",
    "/queue/?tab=failed": "Nothing has failed",
    "/queue/?tab=done": "No decided messages yet",
    "/queue/": "No messages waiting",
    "/history/": "No decided messages yet",
    "/audit/": "No entries yet",
    "/attention/": "Nothing needs attention",
}


@pytest.mark.slow
def test_empty_desk_of_a_newcomer_says_so_and_what_to_do_next(
    signed_in, working, message
):
    other = make_connection("other", complete_as_of=Now(), read_at=Now())
    newcomer = signed_in(
        make_person("nia@yourteam.example", "Nia", "reviewer", connection=other)
    )
    for path, words in EMPTY.items():
        _, found, advice = newcomer.get(path).text.partition(words)
        assert found, path
        assert "href=" in advice.partition("</div>")[0], path


def test_form_without_a_proper_fingerprint_or_a_reason_is_refused():
    proper = {"outcome": "approve", "fingerprint": "0" * 64, "reason": ""}
    assert VerdictForm(proper).is_valid()
    wrong = [
        {"fingerprint": one} for one in ("", "zz", "0" * 63, "zz" + "0" * 64, "0" * 65)
    ]
    for fields in (*wrong, {"outcome": "reject"}, {"outcome": "send_back"}):
        assert not VerdictForm(proper | fields).is_valid(), fields


@pytest.mark.slow
def test_upstream_id_that_is_unknown_is_404_and_one_of_two_connections_asks_which(
    desk, message
):
    assert desk.get("/approvals/a%00b/").status_code == 404
    other = make_connection("other")
    Message.objects.create(
        connection=other,
        upstream_id=message.upstream_id,
        state="held",
        held_at=NOW,
        subject="The other one",
    )
    page = desk.get(f"/approvals/{message.upstream_id}/").text
    assert "The other one" in page
    assert "Invoice 2207" in page


def test_report_of_a_browser_is_read_with_care_and_logged_without_its_query(
    client, caplog
):
    report = b'{"csp-report": {"violated-directive": "img-src", "blocked-uri": "https://t.example/o.gif?who=dana"}}'
    assert (
        client.post(
            "/csp-report/", report, content_type="application/csp-report"
        ).status_code
        == 204
    )
    assert "t.example" in str([vars(record) for record in caplog.records])
    assert "dana" not in str([vars(record) for record in caplog.records])
    for body in (b"[" * 16_000, b"[]", b"{", b"\xff"):
        assert (
            client.post(
                "/csp-report/", body, content_type="application/csp-report"
            ).status_code
            == 204
        )
    answer = client.post(
        "/csp-report/", b'{"a": 1, "a": 2}', content_type="application/csp-report"
    )
    assert answer.status_code == 400
    assert 'the name "a" twice' in answer.json()["error"]


@pytest.mark.parametrize(
    "paths",
    [
        ("/queue/", "/connections/"),
        pytest.param(("/", "/alerts/", "/audit/"), marks=pytest.mark.slow),
    ],
)
def test_mailboxes_out_of_sight_are_named_nowhere(signed_in, connection, paths):
    mine = connection.mailboxes.get()
    connection.mailboxes.create(upstream_id="02", address="board@yourteam.example")
    client = signed_in(
        make_person(
            "x@yourteam.example", "X", "reviewer", connection=connection, mailbox=mine
        )
    )
    pages = {path: client.get(path).text for path in paths}
    assert [
        path for path, page in pages.items() if "board@yourteam.example" in page
    ] == []
    assert "support@yourteam.example" in pages.get(
        "/connections/", "support@yourteam.example"
    )
