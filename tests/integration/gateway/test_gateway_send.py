"""Sending, replying and changing what is scheduled, in both dialects: what is accepted
and refused, the effect of each mode, and what becomes of HTML and of an agent's `ucan`.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone

from common.additions import html_part
from common.fingerprint import fingerprint
from common.text_from_html import text_from_html
from gateway.messages import submission
from gateway.messages.content import all_recipients
from gateway.models import AuditLogEntry, Email, Mailbox
from gateway.states import Mode, Status
from mirror.store import content_of
from parsing.client import ParserBusy
from simple_form import simplify
from simple_form.data import rows
from tests.factories import change_row
from tests.integration.gateway.world import (
    add_key,
    add_sandbox_keys,
    bad_field_of,
    events_of,
    leave,
    make_inbound,
    noted,
    refusal_of,
)

# The field that is named, and what is sent in it.
BAD_FIELDS = list(
    rows(r"""
to                  []
to                  ["=?utf-8?q?eve=40evil.example?=@northwind.example"]
cc                  ["a@x.example\nBcc: evil@x.example"]
subject             "LONG"
subject             "Hi =?utf-8?q?Bcc?="
subject             "null \u0000"
markdown            ""
metadata.deep.x     {"deep": {"x": "\u0000"}}
send_at             "tomorrow"
send_at             "2001-01-01T00:00:00Z"
attachments.0.content_base64    [{"name": "a", "content_base64": "%%%"}]
attachments.0.content_type      [{"name": "a", "content_base64": "eA==", "content_type": "text/plain\r\nX: y"}]
attachments.0.content_type      [{"name": "a", "content_base64": "eA==", "content_type": "text/plain; a"}]
attachments.0.name              [{"name": "a\n", "content_base64": "eA=="}]
attachments.0.name              [{"name": "=?utf-8?q?a.exe?=", "content_base64": "eA=="}]
attachments         [{"name": "a", "content_base64": "eA=="}, {"name": "a", "content_base64": "eA=="}]
""")
)


def test_send_bad_field_is_422_and_names_it(world):
    for field, written in BAD_FIELDS:
        value = json.loads(written.replace("LONG", "x" * 999))
        answer = world.send(**{field.partition(".")[0]: value})
        assert bad_field_of(answer) == (422, field), (field, value)
    headers = {"Authorization": f"Bearer {world.keys['agent']}"}
    for raw in (b'{"metadata": {"n": 1e999}}', b'{"subject": "\\ud800"}', b""):
        answer = Client().post(
            "/send_email", data=raw, content_type="application/json", headers=headers
        )
        assert answer.status_code == 422, raw
    assert not Email.objects.exists()


def test_header_injection_is_422_and_the_audit_log_says_whose_key_tried(world):
    for field, value in (
        ("subject", "Hi\r\nBcc: evil@x.example"),
        ("subject", "Hi\nBcc: evil@x.example"),
        ("to", ["a@x.example\r\nBcc: evil@x.example"]),
        ("reply_to", "a@x.example\r\nBcc: evil@x.example"),
    ):
        assert world.send(**{field: value}).status_code == 422
        entry = AuditLogEntry.objects.latest("id")
        assert entry.action == "header_injection.refused", value
        assert entry.actor_key_id == world.key_id("agent")
        assert entry.metadata == {"field": field}
    AuditLogEntry.objects.all().delete()
    for field, value in (("subject", "tab\x0bonly"), ("to", ["not an address"])):
        assert world.send(**{field: value}).status_code == 422
    assert not AuditLogEntry.objects.exists()


def test_response_explains_an_overruled_mode(world):
    """Point 7."""
    for asked, overruled in (
        ("autonomous", "autonomous"),
        ("gated_send", None),
        (None, None),
    ):
        body = world.send(oversight_mode=asked).json()
        assert body["oversight_mode"] == "gated_send", asked
        assert ("/request-upgrade" in body["message"]) is bool(overruled), asked
        assert body.get("requested_oversight_mode") == overruled, asked
    refused = world.send(oversight_mode="read_only")
    assert refusal_of(refused) == (403, "read_only")
    assert Email.objects.count() == 3


HIDING = (
    '<p>We pay <b style="display:none">not</b> 5 EUR</p><p style="color:#333">Ana</p>'
)


SIMPLE = (
    '<div style="list-style-position:inside;overflow-wrap:break-word;"><p>We pay  5 EUR</p>'
    '<p style="background-color:#ffffff;color:#333333;">Ana</p></div>'
)


SENTENCE = "Removed, because it is hidden (display: none): “not”."


def test_html_is_held_and_sent_in_its_simple_form(world, mail_server):
    assert world.send(html=HIDING, markdown=None).json()["warnings"] == [SENTENCE]
    (row,) = world.pending()["pending"]
    assert row["html_body"] == SIMPLE
    assert row["simplified"] == 1
    assert row["markdown"] == "We pay 5 EUR\n\nAna"
    # A client trusts what it does not know: neither the original nor its words stand
    # under another name.
    assert "display" not in str(row)
    original = f"/v1/oversight/pending/{row['id']}/original"
    assert world.get(original, key="desk") == {"html": HIDING, "changes": [SENTENCE]}
    assert world.call("GET", original, key="agent").status_code == 403
    decided = world.decide(row["id"], expected_fingerprint=row["fingerprint"])
    assert decided.status_code == 200
    assert leave(row["id"])
    sent = mail_server.message().get_body(("html",)).get_content()
    assert sent.splitlines() == html_part(SIMPLE, row["additions"]).splitlines()


def test_html_in_markdown_leaves_in_its_simple_form_too(world, mail_server):
    text = "We pay *now* <b style='display:none'>not</b> 5 EUR\n\n<script>x</script>"
    answer = world.send(markdown=text).json()
    assert answer["warnings"] == [SENTENCE, "The layout was simplified: <script>."]
    (row,) = world.pending()["pending"]
    assert (row["markdown"], row["simplified"]) == ("We pay now 5 EUR", 2)
    original = world.get(f"/v1/oversight/pending/{row['id']}/original", key="desk")
    assert original["html"] == text
    assert world.decide(row["id"]).status_code == 200
    assert leave(row["id"])
    sent = mail_server.message().get_body(("html",)).get_content()
    assert "<em>now</em>  5 EUR" in sent
    assert "not" not in sent.partition("<p>--")[0]
    assert world.send(markdown="<b>x</b>" * 30_000).status_code == 422


def test_markup_in_markdown_is_not_seen_in_the_text_part(world, mail_server):
    """A tag that is no element of HTML is text in both parts. What the HTML says
    otherwise stays in the text, where the desk names it.
    """
    text = "Hello <b>Dana</b>,<br>12 m<sup>2</sup> for <Customer Name> if a<b and c>d"
    for markdown, expected in (
        (text, "Hello Dana,\n\n12 m^2 for <Customer Name> if a<b and c>d"),
        ("Dear <title> <Name>", "Dear <title> <Name>"),
        ("1. <b>Sign</b>\n3. Pay", "1. <b>Sign</b>\n3. Pay"),
    ):
        assert "warnings" not in world.send(markdown=markdown).json()
        row = world.pending()["pending"][-1]
        assert row["markdown"] == expected
        world.decide(row["id"])
        assert leave(row["id"])
    sent = mail_server.message().get_body(("html",)).get_content()
    assert "for &lt;Customer Name&gt; if a&lt;b and c&gt;d" in sent


LETTER = Path("tests/corpus/designed/043_travel_japanese_columns.html")


def test_designed_mail_is_held_approved_and_sent_byte_for_byte(world, mail_server):
    on = {"send_as_designed": True}
    assert world.patch(world.base, key="agent", **on).status_code == 403
    assert world.patch(world.base, **on).json()["send_as_designed"] is True
    html = LETTER.read_text()
    assert "warnings" not in world.send(html=html, markdown=None).json()
    (row,) = world.pending()["pending"]
    # What the desk keeps of the row has the fingerprint that is approved.
    content = content_of(row)
    assert (content.html, fingerprint(content)) == (html, row["fingerprint"])
    assert content.markdown == text_from_html(simplify(html).html)
    world.decide(row["id"], expected_fingerprint=row["fingerprint"])
    assert leave(row["id"]) == "sent"
    part = mail_server.message().get_body(("html",)).get_payload(decode=True)
    # Mail has line ends of its own.
    sent = html_part(html, row["additions"]).encode() + b"\n"
    assert part.replace(b"\r\n", b"\n") == sent
    assert bad_field_of(world.send(html="<b>" * 30_000)) == (422, "html")


UCAN = "eyJhbGciOiJFZERTQSJ9." + "Ab-_9" * 2196 + "c=d"


def test_ucan_is_part_of_what_is_decided_and_arrives_unchanged(world, mail_server):
    held = world.held(ucan=UCAN)
    (row,) = world.pending()["pending"]
    assert row["additions"]["agent_identity"] == UCAN
    Email.objects.update(agent_identity="other")
    changed = world.decide(held, expected_fingerprint=row["fingerprint"])
    assert changed.json()["code"] == "content_changed"
    Email.objects.update(agent_identity=UCAN)
    for email_id in (held, world.held()):
        world.decide(email_id)
        assert leave(email_id) == "sent"
    content = mail_server.taken[0].content
    assert max(map(len, content.splitlines())) <= 200
    # Blanks stand only where a line was folded.
    assert "".join(mail_server.message()["X-Agent-Identity"].split()) == UCAN
    assert mail_server.message(1)["X-Agent-Identity"] is None


def reply(world, email, key="agent", **fields):
    """Reply by the path that the SDK uses."""
    body = {"markdown": "It left.", **fields}
    return world.post(f"{world.base}/reply/{email.pk}", key, **body)


def reply_flat(world, **body):
    return world.post("/reply_email", **body)


def made(answer):
    assert answer.status_code == 202, answer.content
    return Email.objects.get(pk=answer.json()["id"])


@pytest.mark.slow
def test_reply_goes_to_reply_to_or_sender_and_for_own_mail_to_its_recipients(world):
    parent = make_inbound(world, reply_to="desk@northwind.example")
    email = made(reply(world, parent, cc=["c@x.example"], bcc="b@x.example"))
    assert email.to == ["desk@northwind.example"]
    assert email.cc == ["c@x.example"]
    assert email.bcc == ["b@x.example"]
    twice = Email.objects.get(pk=world.held(to=["D@x.example"], cc=["d@X.example"]))
    assert all_recipients(twice) == ["D@x.example"]
    own = Email.objects.get(
        pk=world.held(to=["a@x.example", "b@x.example"], cc=["c@x.example"])
    )
    email = made(reply_flat(world, thread_id=own.thread_id, body="One more thing."))
    assert (email.to, email.cc) == (own.to, [])
    assert email.in_reply_to == own.message_id_header
    assert email.thread_id == own.thread_id
    for address in ("", "MAILER-DAEMON", "Support+a1@acme.example"):
        answer = reply(world, make_inbound(world, from_address=address))
        assert refusal_of(answer) == (422, "no_reply_address"), address


def test_received_mail_is_not_replaced_and_tells_nothing_of_itself(world):
    held = make_inbound(world, status=Status.PENDING_INBOUND_APPROVAL)
    assert bad_field_of(world.send(replaces=held.pk)) == (422, "replaces")
    cancelled = make_inbound(world, status=Status.CANCELLED)
    answer = world.call("GET", f"{world.base}/emails/{cancelled.pk}")
    assert refusal_of(answer) == (403, "not_let_in")
    # A key of a reply is no key of a message that replaces another.
    key = {"idempotency_key": "k"}
    assert reply(world, make_inbound(world), **key).status_code == 202
    assert world.send(replaces=world.held(), **key).status_code == 202


def test_reply_to_unapproved_inbound_mail_or_the_other_kind_is_refused(world):
    add_sandbox_keys(world)
    live = make_inbound(world, thread_id="live")
    assert reply(world, live, key="tester").status_code == 404
    for status in (Status.PENDING_INBOUND_APPROVAL, Status.REJECTED):
        parent = make_inbound(world, status=status)
        assert reply(world, parent).status_code == 403, status
        for name, value, code in (
            ("email_id", parent.pk, 403),
            ("thread_id", "t", 404),
        ):
            answer = reply_flat(world, body="x", **{name: value})
            assert answer.status_code == code, status
    Mailbox.objects.update(is_active=False)
    assert reply_flat(world, thread_id="live", body="x").status_code == 404
    assert not Email.objects.filter(direction="outbound").exists()


AT = "2099-01-01T00:00:00Z"


LATER = "2099-02-01T00:00:00Z"


def edit(world, email, key="agent", **fields):
    email_id = getattr(email, "pk", email)
    return world.patch(f"{world.base}/emails/{email_id}/schedule", key=key, **fields)


def scheduled(world, **fields):
    email = Email.objects.get(pk=world.held(send_at=AT, **fields))
    assert email.status == Status.SCHEDULED
    return email


def test_content_of_scheduled_mail_is_changed_and_scheduled_again(free):
    email = scheduled(free, cc="c@x.example", html="<p>old words</p>")
    fields = {"to": ["new@x.example"], "cc": [], "bcc": ["b@x.example"]}
    fields |= {"subject": "New", "markdown": "new words"}
    for _ in range(2):
        assert edit(free, email, **fields).json()["status"] == "scheduled"
    email.refresh_from_db()
    assert {name: getattr(email, name) for name in fields} == fields
    # Recipients must see the new text, not the HTML of the old one.
    assert email.html is None
    assert email.due_at == email.send_at == datetime(2099, 1, 1, tzinfo=UTC)
    assert noted("email.edited").metadata["fields"] == sorted(fields)
    edit(free, email, markdown="We <b hidden>do not</b> pay")
    email.refresh_from_db()
    assert "not" not in email.html + email.markdown


def test_changed_content_is_subject_to_the_current_mode(free):
    email = scheduled(free)
    unchanged = scheduled(free)
    Mailbox.objects.update(oversight_mode=Mode.GATED_SEND)
    edited = edit(free, email, markdown="new words").json()
    assert edited["status"] == "pending_send_approval"
    email.refresh_from_db()
    assert email.gated is True
    assert email.due_at is None
    Mailbox.objects.update(oversight_mode=Mode.READ_ONLY)
    assert edit(free, unchanged, markdown="new words").status_code == 403
    unchanged.refresh_from_db()
    assert unchanged.status == Status.SCHEDULED
    assert unchanged.markdown == "Hello"


def test_only_the_key_that_wrote_a_message_changes_its_words(free):
    add_key(free, "second", ["send"])
    email = scheduled(free)
    assert edit(free, email, key="second", send_at=LATER).status_code == 200
    refused = edit(free, email, key="second", markdown="Other words")
    assert refused.status_code == 403
    assert refused.json()["code"] == "not_your_message"
    email.refresh_from_db()
    assert email.sent_by_key.name != "Key second"
    assert edit(free, email, markdown="Other words").status_code == 200


def test_edit_of_concurrently_changed_mail_is_409(free, monkeypatch):
    email = scheduled(free)
    admit = submission.admit

    def overtaken(*arguments, **asked):
        change_row(email, cc=["late@x.example"])
        return admit(*arguments, **asked)

    monkeypatch.setattr(submission, "admit", overtaken)
    answer = edit(free, email, to=["new@x.example"])
    assert refusal_of(answer) == (409, "changed_meanwhile")
    email.refresh_from_db()
    assert email.to == ["dana@northwind.example"]
    assert email.status == Status.SCHEDULED


def test_html_that_is_not_read_in_time_is_refused_with_a_sentence(world, monkeypatch):
    monkeypatch.setattr("gateway.parsed.parse", Mock(side_effect=ParserBusy))
    answer = world.send(html="<p>x</p>", markdown=None)
    assert bad_field_of(answer) == (422, "html")


def test_approved_mail_keeps_its_content_and_is_held_again_when_its_time_changes(world):
    email = world.approved(send_at=AT)
    world.listen("oversight.pending")
    for change in (
        {"subject": "Another"},
        {"cc": ["o@x.example"]},
        {"markdown": "Other", "send_at": LATER},
    ):
        refused = edit(world, email, **change)
        assert refusal_of(refused) == (409, "already_approved"), change
    assert edit(world, world.held(send_at=AT), cc=["o@x.example"]).status_code == 409
    assert edit(world, email, send_at=LATER).status_code == 200
    email.refresh_from_db()
    # It was approved for its time, and is asked about again.
    assert email.status == Status.PENDING_SEND_APPROVAL
    assert (email.decision, email.decided_at, email.additions) == ("", None, None)
    assert events_of(email.pk) == ["oversight.pending"]
    change_row(email, due_at=Now())
    assert leave(email) == "not due"
    assert world.decide(email.pk).json()["decision"] == "approved"


@pytest.mark.slow
def test_mail_on_its_way_is_409(free):
    at_once = free.held()
    late, leased, offered = (scheduled(free).pk for _ in range(3))
    for email_id, fields in (
        (late, {"send_at": timezone.now() - timedelta(seconds=1)}),
        (leased, {"lease_until": Now() + timedelta(minutes=1)}),
        (offered, {"data_attempted_at": Now()}),
    ):
        Email.objects.filter(pk=email_id).update(**fields)
    for email_id in (at_once, late, leased, offered):
        for fields in ({"send_at": LATER}, {"subject": "Other"}):
            assert edit(free, email_id, **fields).status_code == 409
