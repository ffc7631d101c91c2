"""Sending over HTTP, in both dialects: what is accepted, what is refused, and the
effect of each mode.
"""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from gateway.errors import Invalid
from gateway.messages.admission import check_time
from gateway.models import AuditLogEntry, Email, Mailbox
from gateway.states import Mode, Status
from tests.integration.gateway.world import (
    bad_field_of,
    move_on_everything,
    noted,
    refusal_of,
    status_of,
)

FILE = {"name": "a", "content_base64": "eA=="}
BAD_FIELDS = [
    ("to", []),
    ("to", None),
    ("to", ["not an address"]),
    ("to", ["a@b@c.example"]),
    ("to", ["=?utf-8?q?eve=40evil.example?=@northwind.example"]),
    ("cc", ["a@x.example\nBcc: evil@x.example"]),
    ("subject", "x" * 999),
    ("subject", "Hi =?utf-8?q?Bcc?="),
    ("subject", None),
    ("subject", "null \x00"),
    ("markdown", ""),
    ("metadata", ["no object"]),
    ("metadata.deep.x", {"deep": {"x": "\x00"}}),
    ("oversight_mode", "loose"),
    ("send_at", "tomorrow"),
    ("send_at", "2099-01-01T00:00:00+02:00"),
    ("send_at", "2001-01-01T00:00:00Z"),
    ("attachments.0.content_base64", [FILE | {"content_base64": "%%%"}]),
    ("attachments.0.content_type", [FILE | {"content_type": "text/plain\r\nX: y"}]),
    *(
        ("attachments.0.name", [FILE | {"name": name}])
        for name in ("a\n", "=?utf-8?q?a.exe?=", "")
    ),
    ("attachments", [FILE] * 2),
    ("to", 7),
    ("gate_timing", "never"),
    ("metadata", "text"),
]


def test_send_takes_recipients_in_every_shape(world):
    for to in (
        "a@x.example",
        "a@x.example, b@x.example",
        "a@x.example,\n b@x.example",
        ["a@x.example"],
        ["Jane Doe <a@x.example>"],
        ["a@X.EXAMPLE."],
    ):
        recipients = Email.objects.get(pk=world.held(to=to)).to
        assert recipients == ["a@x.example", "b@x.example"][: 2 if "," in to else 1], to


def test_send_html_only_stores_html_and_generated_text_and_the_sweep_finishes_crashed_sends(
    world,
):
    email = Email.objects.get(
        pk=world.held(markdown=None, html="<h1>Hi</h1><p>there <b>you</b></p>")
    )
    assert email.html == "<h1>Hi</h1><p>there <b>you</b></p>"
    assert email.markdown == "Hi\n\nthere you"
    Email.objects.filter(pk=email.pk).update(status=Status.PENDING_SCAN)
    move_on_everything()
    assert status_of(email) == Status.PENDING_SEND_APPROVAL


def test_send_bad_field_is_422_and_names_it(world):
    for field, value in BAD_FIELDS:
        answer = world.send(**{field.partition(".")[0]: value})
        assert bad_field_of(answer) == (422, field), (field, value)
        assert isinstance(answer.json()["error"], str)
    headers = {"Authorization": f"Bearer {world.keys['agent']}"}
    for raw in (b'{"metadata": {"n": 1e999}}', b'{"subject": "\\ud800"}', b""):
        answer = Client().post(
            "/send_email", data=raw, content_type="application/json", headers=headers
        )
        assert answer.status_code == 422, raw
        assert answer.json()["error"] != "", raw
    assert not Email.objects.exists()


def test_header_injection_is_422_and_the_audit_log_says_whose_key_tried(world):
    for field, value in (
        ("subject", "Hi\r\nBcc: evil@x.example"),
        ("subject", "Hi\nBcc: evil@x.example"),
        ("to", ["a@x.example\r\nBcc: evil@x.example"]),
        ("reply_to", "a@x.example\r\nBcc: evil@x.example"),
    ):
        AuditLogEntry.objects.all().delete()
        assert world.send(**{field: value}).status_code == 422
        entry = noted("header_injection.refused")
        assert entry.actor_key_id == world.key_id("agent"), value
        assert entry.resource_id == world.key_id("agent"), value
        assert entry.metadata == {"field": field}
    AuditLogEntry.objects.all().delete()
    for field, value in (("subject", "tab\x0bonly"), ("to", ["not an address"])):
        assert world.send(**{field: value}).status_code == 422
    assert not AuditLogEntry.objects.exists()
    assert not Email.objects.exists()


def test_send_in_read_only_is_403_and_stores_nothing(world):
    asked = world.send(oversight_mode="read_only")
    Mailbox.objects.update(oversight_mode=Mode.READ_ONLY)
    for answer in (asked, world.send()):
        assert refusal_of(answer) == (403, "read_only")
    assert asked.json()["error"].startswith("This call asks for")
    assert "/request-upgrade" in world.send().json()["error"]
    assert not Email.objects.exists()


def test_response_explains_an_overruled_mode(world):
    """Point 7."""
    for asked, is_overruled in (
        ("autonomous", True),
        ("gated_send", False),
        (None, False),
    ):
        answer = world.send(**({"oversight_mode": asked} if asked else {}))
        body = answer.json()
        assert answer.status_code == 202, asked
        assert body["oversight_mode"] == "gated_send", asked
        assert (
            f"{world.mailbox.address}/request-upgrade" in body["message"]
        ) is is_overruled, asked
        assert body.get("requested_oversight_mode") == (
            "autonomous" if is_overruled else None
        ), asked


def test_send_mode_of_a_call_tightens_and_loosens_only_where_allowed(world):
    for mailbox, looser, asked, held in (
        ("gated_send", False, None, True),
        ("gated_send", False, "autonomous", True),
        ("gated_send", True, "autonomous", False),
        ("gated_send", True, "gated_all", True),
        ("autonomous", False, None, False),
        ("autonomous", False, "Gated_Send", True),
        ("monitored", False, "autonomous", False),
    ):
        Mailbox.objects.update(oversight_mode=mailbox, allow_looser_per_call=looser)
        body = world.send(oversight_mode=asked).json()
        got = status_of(body["id"]), body["oversight_status"]
        expected = (
            (Status.PENDING_SEND_APPROVAL, "pending_approval")
            if held
            else (Status.SCHEDULED, "not_required")
        )
        assert got == expected, (mailbox, looser, asked)


def test_scheduled_send_needs_an_allowing_mailbox_and_a_future_time(world):
    check_time(world.mailbox, timezone.now() + timedelta(minutes=1))
    with pytest.raises(Invalid, match=r"^send_at: is in the past\.$") as refused:
        check_time(world.mailbox, timezone.now())
    assert refused.value.field == "send_at"
    Mailbox.objects.update(scheduling_enabled=False)
    answer = world.send(send_at="2099-01-01T00:00:00Z")
    assert refusal_of(answer) == (403, "scheduling_disabled")
    assert world.send().status_code == 202


def test_send_uses_few_statements(world, django_assert_max_num_queries):
    world.send()
    # Key, mailbox, lists, suppressed; record in a savepoint, email, log entry; change,
    # subscribers; two transactions.
    with django_assert_max_num_queries(15):
        assert world.send().status_code == 202
