"""Lines 1 to 11 of the security list: what is accepted, what is refused, and what
neither leaves behind.
"""

import hmac
import io
import json
import logging
from datetime import timedelta
from types import SimpleNamespace

import pytest
import redis
from django.utils import timezone

from alerts.models import Delivery
from approvals.intake import unsigned
from audit.models import Entry
from common.logs import JsonFormatter
from common.redis import quick_redis
from mirror.models import Message, WebhookEvent
from tests.factories import (
    SECRET,
    change_row,
    event_body,
    make_connection,
    post_confirmed,
    post_event,
)
from upstream.signatures import HEADER, sign


@pytest.fixture(autouse=True)
def _own_counters(monkeypatch):
    """Reset counters and the state of Redis that other tests left; counters are by the
    minute.
    """
    monkeypatch.setattr(unsigned, "time", SimpleNamespace(time=lambda: 1_800_000_010.0))
    quick_redis().flushdb()
    unsigned._local.clear()


def nothing_is_stored():
    return (
        WebhookEvent.objects.count(),
        Message.objects.count(),
        Entry.objects.count(),
    ) == (0, 0, 0)


def post_signed(client, connection, body, *, secret=SECRET, of=None):
    """Post this body with a signature of it, or of another one."""
    return post_event(client, connection, body, **{HEADER: sign(of or body, secret)})


def test_signature_is_of_the_raw_body_and_comes_before_any_parsing(
    client, connection, monkeypatch
):
    body = event_body(subject="Grüße")
    again = json.dumps(json.loads(body)).encode()
    assert json.loads(again) == json.loads(body)
    monkeypatch.setattr(
        "approvals.intake.ingest.parse",
        lambda body: pytest.fail("parsed before it was verified"),
    )
    for other in (again, b"{" * 100_000):
        assert post_signed(client, connection, other, of=body).status_code == 401
    assert nothing_is_stored()


DIGEST = "0123456789abcdef" * 4
MALFORMED = [
    "",
    "sha256=",
    f"sha256={DIGEST[:-1]}",
    f"sha256={DIGEST}0",
    "sha256=" + "z" * 64,
    "sha1=" + "0" * 40,
    f"sha256={DIGEST},sha256={DIGEST}",
    f"sha256= {DIGEST}",
    "sha256=" + "\u0661" * 64,
    "кириллица",
    f"sha256={DIGEST}",
]


def test_missing_doubled_or_malformed_signature_is_401_and_leaves_a_counter_only(
    client, connection, monkeypatch
):
    compared = []
    real = hmac.compare_digest
    body = event_body()
    monkeypatch.setattr(
        "upstream.signatures.hmac.compare_digest",
        lambda a, b: compared.append((a, b)) or real(a, b),
    )
    # A server joins two headers of one name with a comma.
    headers = [*MALFORMED, f"{sign(body, SECRET)},{sign(body, SECRET)}"]
    answers = {
        header: post_event(client, connection, body, **{HEADER: header})
        for header in headers
    }
    path = f"/webhooks/multimail/{connection.webhook_id}/"
    answers["none"] = client.post(path, body, content_type="application/json")
    assert {
        header: answer.status_code for header, answer in answers.items()
    } == dict.fromkeys(answers, 401)
    assert "signing secret" in answers["none"].json()["error"]
    assert nothing_is_stored()
    assert int(quick_redis().get(unsigned.TOTAL)) == len(answers)
    # In constant time, so as bytes and by hmac.
    assert len(compared) >= len(headers)
    assert all(isinstance(part, bytes) for pair in compared for part in pair)


def rotate(connection, until):
    change_row(
        connection,
        webhook_secret="whsec_new",
        previous_webhook_secret=SECRET,
        previous_secret_until=until,
    )


def test_both_secrets_count_during_a_rotation_and_the_previous_one_not_after_its_end(
    client, connection
):
    rotate(connection, timezone.now() + timedelta(minutes=5))
    for secret in ("whsec_new", SECRET):
        answer = post_signed(client, connection, event_body(), secret=secret)
        assert answer.status_code == 200
    used = WebhookEvent.objects.order_by("pk").values_list("secret_used", flat=True)
    assert list(used) == ["current", "previous"]
    rotate(connection, timezone.now() - timedelta(seconds=1))
    assert post_event(client, connection, event_body()).status_code == 401
    assert WebhookEvent.objects.count() == 2


# Bodies that are not JSON, or not a webhook.
HOSTILE = [
    b'{"event": "oversight.pending", "email_id": "01E", "metadata": '
    + b"[" * 60
    + b"]" * 60
    + b"}",
    b"[" * 120_000 + b"]" * 120_000,
    b'{"event": "oversight.pending", "email_id": "01E", "email_id": "01F"}',
    b'{"event": "oversight.pending", "email_id": "01E", "metadata": {"a": NaN}}',
    b'{"event": "oversight.pending", "email_id": "01E", "subject": "\\ud800"}',
    b'{"event": "oversight.pending", "email_id": "01E", "subject": "\xff"}',
    b'{"event": "oversight.pending", "email_id": "01E", "timestamp": '
    + b"9" * 5000
    + b"}",
    b"[1]",
]


def test_hostile_json_is_kept_apart_once_and_harms_nobody(client, connection):
    for number, body in enumerate(HOSTILE, start=1):
        answer = post_event(client, connection, body)
        assert (answer.status_code, answer.json()["stored"]) == (400, True), body[:80]
        event = WebhookEvent.objects.latest("pk")
        assert (event.result, bytes(event.body)) == ("poison", body), body[:80]
        if number <= 3:
            assert post_event(client, connection, body).status_code == 400
        assert WebhookEvent.objects.count() == number
        assert Message.objects.count() == 0


def test_nul_is_replaced_wherever_it_stands(client, connection):
    body = event_body(
        subject="a\0b\u202ec",
        metadata={"x\0y": "z\0"},
        email_id="01\0E",
        **{"from": "a\0@x.example"},
    )
    assert post_event(client, connection, body).json() == {"result": "applied"}
    message = Message.objects.get()
    found = (message.subject, message.trigger, message.upstream_id)
    assert found == ("a\ufffdb\u202ec", {"x\ufffdy": "z\ufffd"}, "01\ufffdE")


def test_body_at_the_limit_is_taken_and_one_byte_more_is_not(client, connection):
    for more, status in ((1, 413), (0, 200)):
        body = event_body(subject="x")
        body = body[:-1] + b" " * (256 * 1024 - len(body) + more) + b"}"
        assert post_event(client, connection, body).status_code == status
        assert WebhookEvent.objects.count() == 1 - more


def test_exact_replay_makes_no_event_no_alert_and_no_change(client, connection, route):
    body = event_body(email_id="01SAME")
    post_event(client, connection, body)
    post_confirmed(
        client, connection, event_body("oversight.rejected", email_id="01SAME")
    )
    tables = (WebhookEvent, Delivery, Entry)
    before = [table.objects.count() for table in tables]
    answer = post_event(client, connection, body)
    assert answer.status_code == 200
    assert answer.json() == {"result": "duplicate"}
    assert [table.objects.count() for table in tables] == before
    assert Message.objects.get().state == "rejected"


def test_addresses_cannot_be_guessed_and_signatures_do_not_travel(client, connection):
    other = make_connection("other", webhook_secret="whsec_other")
    assert len(connection.webhook_id) >= 32
    assert connection.webhook_id != other.webhook_id
    assert post_event(client, other, event_body()).status_code == 401
    for guess in ("main", "guess", "a%00b"):
        answer = client.post(
            f"/webhooks/multimail/{guess}/", b"{}", content_type="application/json"
        )
        assert answer.status_code == 404, guess
        assert bool(answer.json()["error"]), guess
    assert nothing_is_stored()


def test_what_came_unencrypted_through_the_proxy_is_refused_and_not_redirected(
    client, connection, settings
):
    settings.HTTPS = True
    for trusted, scheme, status in (
        ("127.0.0.1", "http", 403),
        ("127.0.0.1", "HTTP, https", 403),
        ("127.0.0.1", "https", 200),
        ("192.0.2.1", "http", 200),
    ):
        settings.TRUSTED_PROXIES = [trusted]
        headers = {"X-Forwarded-Proto": scheme}
        answer = post_event(client, connection, event_body(), **headers)
        assert answer.status_code == status, (trusted, scheme)


def forge(client, connection, address="127.0.0.1"):
    return client.post(
        f"/webhooks/multimail/{connection.webhook_id}/", event_body(), content_type="application/json",
        headers={HEADER: f"sha256={DIGEST}"}, REMOTE_ADDR=address,
    )  # fmt: skip


@pytest.mark.parametrize("is_redis_away", [False, True])
def test_unsigned_is_limited_and_signed_never(
    client, connection, monkeypatch, is_redis_away
):
    if is_redis_away:
        nowhere = redis.Redis.from_url("unix:///nonexistent/redis.sock")
        monkeypatch.setattr("approvals.intake.unsigned.quick_redis", lambda: nowhere)
    monkeypatch.setattr(unsigned, "FROM_ONE_ADDRESS", 3)
    answers = [forge(client, connection) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
    assert answers[-1]["Retry-After"] == "50"
    assert forge(client, connection, address="203.0.113.9").status_code == 401
    assert post_signed(client, connection, event_body()).status_code == 200


def test_forged_webhook_costs_one_statement(
    client, connection, django_assert_num_queries
):
    with django_assert_num_queries(1):
        assert forge(client, connection).status_code == 401


def test_many_addresses_together_are_limited_for_one_connection(
    client, connection, monkeypatch
):
    monkeypatch.setattr(unsigned, "TO_ONE_CONNECTION", 3)
    statuses = [
        forge(client, connection, f"198.51.100.{number}").status_code
        for number in range(5)
    ]
    assert statuses == [401, 401, 401, 429, 429]
    assert forge(client, make_connection("other"), "198.51.100.1").status_code == 401


@pytest.fixture
def logged():
    """The log's text."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


def test_no_body_and_no_signature_is_logged(client, connection, logged):
    body = event_body(
        subject="SECRET-SUBJECT\r\nlevel: forged", **{"from": "SECRET-SENDER@x.example"}
    )
    signature = sign(body, SECRET)
    for sent in (signature, "sha256=" + DIGEST, "sha1=\r\nINJECTED"):
        post_event(client, connection, body, **{HEADER: sent})
    post_event(client, connection, b'{"email_id": "SECRET-ID", "subject": [')
    text = logged.getvalue()
    assert "webhook stored" in text
    assert "webhook refused" in text
    for secret in ("SECRET", signature[7:], DIGEST, "INJECTED", "forged"):
        assert secret not in text
