"""Webhooks that are lost, forged, damaged, monstrous, or cut off by a death: accepted ones are stored once."""

import json
import random
import time
import uuid

import psycopg
import pytest
import requests

from tests.faults import wire
from tests.faults.proxy import WEBHOOK, pass_on
from tests.faults.sender import Sender, assert_stored_once, digest, event
from upstream.signatures import HEADER, sign

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("desk-faults")]

LIMIT = 256 * 1024
# Another connection, which is never read: its address of MultiMail leads nowhere.
OTHER = """
from mirror.models import Connection
other, _ = Connection.objects.get_or_create(slug="other", defaults={
    "name": "Other", "api_url": "http://127.0.0.1:9", "oversight_key": "mm_live_other", "webhook_secret": "whsec_other",
    "paused_at": "2026-01-01T00:00Z", "wait_until": "2100-01-01T00:00Z"})
result = other.webhook_id
"""
ROTATE = """
from datetime import timedelta
from django.utils import timezone
from mirror.models import Connection
connection = Connection.objects.get(slug="demo")
connection.previous_webhook_secret, connection.webhook_secret = connection.webhook_secret, {secret!r}
connection.previous_secret_until = timezone.now() + timedelta({days})
connection.save()
"""


# Deliveries that the gateway is about to make about other decisions.
DELIVERING = """
SELECT id FROM gateway_email WHERE status = 'scheduled' AND decided_at > now() - interval '1 minute'
UNION ALL SELECT id::text FROM gateway_webhookdelivery
 WHERE state = 'sending' OR (state = 'due' AND next_attempt_at < now() + interval '5 seconds')
"""


def stored(desk):
    """Return the number of stored webhooks and of their entries in the ledger."""
    entries = "SELECT count(*) FROM audit_entry WHERE actor_kind = 'webhook'"
    return desk.sql(f"SELECT count(*) AS events, ({entries}) AS entries FROM mirror_webhookevent")


def hurry(desk, upstream_id):
    """Make the gateway's next delivery try for a message due."""
    desk.sql(
        "UPDATE gateway_webhookdelivery SET next_attempt_at = now() WHERE state = 'due' AND email_id = %s", upstream_id
    )
    desk.celery.send_task("gateway.tasks.sweep", queue="gateway")


def test_webhook_lost_for_good_is_made_up_for_by_reading(desk):
    with desk.hooks.fault(wire.answering(503), WEBHOOK) as lost:
        upstream_id, subject = desk.send()

        def has_failed():
            hurry(desk, upstream_id)
            time.sleep(0.1)
            rows = desk.sql("SELECT state, attempts FROM gateway_webhookdelivery WHERE email_id = %s", upstream_id)
            return bool(rows) and all(row == {"state": "failed", "attempts": 4} for row in rows)

        desk.wait(has_failed, "the gateway to give up")
        assert len([seen for seen in lost.met if seen.request.email_id == upstream_id]) == 4
    desk.reconcile()
    held = desk.shown(upstream_id, subject)
    [entry] = desk.entries(held, "message.held")
    assert "by reading" in entry["details"]["found"]
    assert desk.decide(held) == 302
    desk.wait_for_decision(held, "applied")


def test_forged_webhook_is_refused_and_leaves_nothing(desk):
    sender, body, chance = Sender.of(desk), event(), random.Random(22)
    other = Sender(sender.url.replace(desk.connection()["webhook_id"], desk.python(OTHER)), "whsec_other")
    right = sign(body, sender.secret)
    # Mail of earlier tests may still be leaving, with its last webhooks.
    desk.wait(lambda: not desk.sql(DELIVERING), "the gateway to have told all")
    desk.wait_for_idle()
    before = stored(desk)
    forged = [(body, right[:at] + format(int(right[at], 16) ^ 1, "x") + right[at + 1 :]) for at in range(7, 71, 9)]
    for bit in chance.sample(range(len(body) * 8), 40):
        flipped = bytearray(body)
        flipped[bit // 8] ^= 1 << bit % 8
        forged.append((bytes(flipped), right))
    forged += [(body, sign(body, secret)) for secret in ("", "whsec_", other.secret, sender.secret + "0")]
    forged += [
        (body, text) for text in ("", "sha256=", "sha1=" + right[7:], right[:-1], right + "0", f"{right},{right}")
    ]
    try:
        for raw, signature in chance.sample(forged, len(forged)):
            assert sender.post(raw, signature).status_code in (401, 429), signature
        assert other.post(body, right).status_code in (401, 429)
        assert stored(desk) == before
        # Correctly signed requests are never limited.
        assert sender.post(body).status_code == 200
        assert int(desk.redis.get("countersign:unsigned-total")) >= len(forged)
    finally:
        desk.sql("DELETE FROM mirror_connection WHERE slug = 'other'")
    assert_stored_once(desk, [body])


def test_secret_rotates_under_load_and_nothing_valid_is_refused(desk):
    sender = Sender.of(desk)
    first = sender.secret
    newest = "SELECT secret_used FROM mirror_webhookevent ORDER BY id DESC LIMIT 1"
    try:
        with sender.traffic(threads=3) as accepted:
            for number in (1, 2, 3):
                secret = f"whsec_fault_{number}"
                desk.python(ROTATE.format(secret=secret, days=1))
                desk.wait(lambda: desk.sql(newest)[0]["secret_used"] == "previous", "the previous secret to be used")
                sender.secret = secret
                seen = len(accepted)
                desk.wait(lambda seen=seen: len(accepted) > seen + 10, "traffic with the new secret")
        assert {status for _, status in sender.answers} == {200}
        assert_stored_once(desk, accepted)
        query = "SELECT DISTINCT secret_used FROM mirror_webhookevent WHERE digest = ANY(%s)"
        used = desk.sql(query, [digest(body) for body in accepted])
        assert {row["secret_used"] for row in used} == {"current", "previous"}
        desk.python(ROTATE.format(secret=first, days=-1))
        # The desk caches secrets for a second.
        desk.wait(lambda: sender.post(event()).status_code in (401, 429), "the old secret to be refused")
    finally:
        desk.python(ROTATE.format(secret=first, days=-1))
    assert Sender.of(desk).post(event()).status_code == 200


def padded(size):
    body = event()
    return body[:-1] + b', "padding": "' + b"x" * (size - len(body) - 15) + b'"}'


def with_text(text):
    return event(subject="@").replace(b'"@"', text)


MONSTERS = {
    "exactly at the limit": (padded(LIMIT), 200, "applied"),
    "one byte more": (padded(LIMIT + 1), 413, None),
    "100 000 levels": (b"[" * 100_000 + b"]" * 100_000, 400, "poison"),
    "objects 20 000 deep": (b'{"data":' * 20_000 + b"1" + b"}" * 20_000, 400, "poison"),
    "U+0000": (with_text(rb'"a\u0000b"'), 200, "applied"),
    "lone surrogate": (with_text(rb'"a\ud800b"'), 400, "poison"),
    "NaN": (with_text(b"NaN"), (200, 400), ("applied", "poison")),
    "a number of 100 000 digits": (with_text(b"9" * 100_000), (200, 400), ("applied", "poison")),
    "not UTF-8": (with_text(b'"\xff\xfe"'), 400, "poison"),
    "cut in half": (event()[:150], 400, "poison"),
    "a list": (b"[1]", 400, "poison"),
}


def test_monstrous_body_is_accepted_or_quarantined(desk):
    sender, web = Sender.of(desk), desk.stack.pids()["web"]
    for what, (body, status, result) in MONSTERS.items():
        answer = sender.post(body)
        assert answer.status_code in (status if isinstance(status, tuple) else (status,)), what
        rows = desk.sql("SELECT result, error FROM mirror_webhookevent WHERE digest = %s", digest(body))
        found = rows[0]["result"] if rows else None
        assert found in (result if isinstance(result, tuple) else (result,)), what
        assert (found == "poison") == bool(rows and rows[0]["error"]), what
    headers = {"Content-Type": "application/json", HEADER: sign(padded(LIMIT * 3), sender.secret)}
    chunks = (b"x" * 65536 for _ in range(12))
    assert requests.post(sender.url, data=chunks, headers=headers, timeout=60).status_code == 413
    assert sender.post(event()).status_code == 200
    assert desk.stack.pids()["web"] == web
    # Dismissed, so that the next test starts without it.
    desk.sql("UPDATE mirror_webhookevent SET handled_at = now() WHERE result = 'poison'")


def test_retry_is_accepted_after_a_death_between_insert_and_commit(desk):
    sender, body = Sender.of(desk), event()
    waiting = "SELECT count(*) AS n FROM pg_locks WHERE NOT granted AND relation = 'audit_entry'::regclass"
    with psycopg.connect(desk.stack.env["DATABASE_OWNER_URL"]) as database:
        database.execute("LOCK TABLE audit_entry IN SHARE MODE")
        with pytest.raises(requests.RequestException):
            sender.post(body, timeout=0.3)
        desk.wait(lambda: desk.sql(waiting)[0]["n"], "the webhook to wait for the ledger")
        desk.restart("web")
    desk.wait(lambda: desk.sql(waiting)[0]["n"] == 0, "the dead process's transaction to end")
    sender.post_until_accepted(body)
    assert sender.post(body).json() == {"result": "duplicate"}
    assert_stored_once(desk, [body])


def test_death_between_commit_and_answer_makes_the_retry_a_duplicate(desk):
    subject, lost = f"Death {uuid.uuid4().hex[:10]}", []

    def lose_ours(exchange):
        if subject.encode() not in exchange.request.body or lost:
            return pass_on(exchange)
        lost.append(exchange.seen)
        return wire.lose_answer(exchange)

    with desk.hooks.fault(lose_ours, WEBHOOK):
        upstream_id, _ = desk.send(subject=subject)
        desk.wait(lambda: lost and lost[0].status == 200, "the desk to have stored it")
    desk.restart("web")
    desk.wait(lambda: desk.ana.get("/healthz").status_code == 200, "the web process to answer")
    hurry(desk, upstream_id)
    held = desk.shown(upstream_id, subject)
    tries = desk.wait(lambda: answered(desk, upstream_id), "the gateway's second try")
    assert json.loads(tries[0].request.body)["event_id"] == json.loads(tries[-1].request.body)["event_id"]
    assert tries[-1].answer == {"result": "duplicate"}
    assert len(desk.entries(held, "message.held")) == 1


def answered(desk, upstream_id):
    """Return the webhooks about a message once the second of them was answered."""
    tries = desk.hooks.reached(WEBHOOK, upstream_id)
    return tries if len(tries) > 1 and tries[-1].answer else None
