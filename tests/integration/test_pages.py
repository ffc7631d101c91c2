"""The pages of the desk as a browser without scripts gets them, whole and as fragments."""

import re
from html import unescape

import pytest

from approvals.decisions.forms import VerdictForm
from tests.factories import make_list, make_message, make_person
from tests.markup import HTMX


@pytest.fixture
def message(connection):
    return make_message(connection, subject="Invoice 2207 for October")


def test_queue_shows_what_waits_to_people_to_htmx_and_to_scripts(desk, message):
    page = desk.get("/queue/").text
    assert "Invoice 2207 for October" in page
    assert "<html" in page
    fragment = desk.get("/queue/", headers=HTMX)
    assert "<html" not in fragment.text
    assert "Invoice 2207" in fragment.text
    assert "HX-Request" in fragment["Vary"]
    (row,) = desk.get("/queue/?format=json").json()["messages"]
    assert row["id"] == str(message.public_id)
    assert row["fingerprint"] == message.revision.fingerprint
    assert row["upstream_id"] == message.upstream_id
    assert row["state"] == "held"


def test_form_without_a_proper_fingerprint_or_a_reason_is_refused():
    proper = {"outcome": "approve", "fingerprint": "0" * 64, "reason": ""}
    assert VerdictForm(proper).is_valid()
    for fields in (
        {"fingerprint": ""},
        {"fingerprint": "0" * 63},
        {"fingerprint": "zz" + "0" * 62},
        {"fingerprint": "0" * 65},
        {"outcome": "reject"},
        {"outcome": "send_back"},
    ):
        assert not VerdictForm(proper | fields).is_valid(), fields


def test_report_of_a_browser_is_read_with_care_and_logged_without_its_query(
    client, caplog
):
    def report(body):
        kind = "application/csp-report"
        return client.post("/csp-report/", body, content_type=kind).status_code

    body = b'{"csp-report": {"violated-directive": "img-src", "blocked-uri": "https://t.example/o.gif?who=dana"}}'
    assert report(body) == 204
    logged = str([vars(record) for record in caplog.records])
    assert "t.example" in logged
    assert "dana" not in logged
    for body in (b"[" * 16_000, b"[]", b"\xff"):
        assert report(body) == 204
    assert report(b'{"a": 1, "a": 2}') == 400


def test_mailboxes_out_of_sight_are_named_nowhere(signed_in, connection, mailbox):
    connection.mailboxes.create(upstream_id="02", address="board@yourteam.example")
    narrow = make_person("x@yourteam.example", "X", "reviewer", mailbox=mailbox)
    client = signed_in(narrow)
    for path in ("/queue/", "/connections/", "/alerts/", "/audit/", "/"):
        assert "board@yourteam.example" not in client.get(path).text, path


@pytest.mark.parametrize(
    ("path", "where"),
    [
        ("/queue/?q=october", "approvals.queue.views"),
        ("/audit/?technical=1", "audit.search.results"),
        ("/audit/trace/{}/", "audit.trail.views"),
        ("/allowlists/{}/?q=example", "policy.pages"),
    ],
)
def test_list_leads_to_its_next_page_and_back(desk, message, monkeypatch, path, where):
    monkeypatch.setattr(f"{where}.PAGE", 1)
    make_message(message.connection, subject="Receipt for October")
    listed = make_list("a.example", "b.example")
    path = path.format(listed.pk if "allow" in path else message.public_id)

    def link(address, pattern):
        return unescape(re.search(pattern, desk.get(address).text)[1])

    following = link(path, 'rel="next" href="(.*?)"')
    assert following.startswith(path)
    back = link(following, 'href="([^"]*)"[^>]*>(?:First page|<svg.{,99}>Previous)')
    assert link(back, 'rel="next" href="(.*?)"') == following
