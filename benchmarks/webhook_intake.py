"""How many signed webhooks a second are stored, mirrored and recorded, against pgbench inserting the same rows?"""

import http.client
import json
import os
import statistics
import threading
import time
import uuid

import psycopg

from benchmarks.result import Figure, Result
from benchmarks.serving import CLIENTS, pgbench, prepare, web_process
from upstream.signatures import HEADER, sign

EVENTS, RUNS, SECONDS = 1500, 3, 3
GOAL = 0.25
SECRET = "whsec_bench"
# The same four inserts that one held message costs, into copies of the same tables without foreign keys.
TABLES = ("approvals_webhookevent", "approvals_message", "audit_entry", "audit_entrydetail")
SCRIPT = r"""
\set n random(1, 2000000000)
BEGIN;
INSERT INTO bench.approvals_webhookevent (connection_id, digest, event_id, name, body, secret_used, result, error, trace)
 VALUES (1, md5(random()::text), md5(random()::text), 'oversight.pending', repeat('x', 700)::bytea, 'current', 'applied', '', '');
INSERT INTO bench.approvals_message (public_id, connection_id, upstream_id, direction, thread_id, upstream_status, state,
  sandbox, sender, recipients, subject, trigger, sent_by_key, trace, held_at, upstream_reason, upstream_decided_by)
 VALUES (gen_random_uuid(), 1, md5(random()::text), 'outbound', '', '', 'held', false, 'a@b.example', '[]', 'subject', '{}',
  '', '', now(), '', '');
INSERT INTO bench.audit_entry (id, xid, at, actor_kind, actor_id, surface, action, fingerprint, trace, detail_hashes, leaf_hash)
 VALUES ((random() * 1e15)::bigint, pg_current_xact_id(), now(), 'webhook', 'x', 'webhook', 'message.held', '', '', '{}', md5('x'));
INSERT INTO bench.audit_entrydetail (entry_id, salt, fields) VALUES ((random() * 1e15)::bigint, 'salt', '{"subject": "subject"}');
COMMIT;
"""  # noqa: E501 - SQL reads better unbroken


def measure() -> Result:
    """Measure both sides in turn, in this database."""
    prepare()
    webhook_id = make_connection()
    with web_process("dashboard") as port:
        sides = [(intake(port, webhook_id), control()) for _ in range(RUNS)]
    ours, theirs = (statistics.median(side) for side in zip(*sides, strict=True))
    ratio = statistics.median(a / b for a, b in sides)
    return Result(
        question=__doc__ or "",
        figures=(Figure("webhooks stored", ours, "a second"),),
        control=Figure(f"pgbench, {CLIENTS} clients", theirs, "transactions a second"),
        ratio=ratio,
        goal=GOAL,
        runs=RUNS,
    )


def make_connection() -> str:
    """Add a connection for this run, and return its webhook id."""
    from approvals.models import Connection

    return Connection.objects.create(
        slug=f"bench-{uuid.uuid4().hex[:8]}",
        name="Bench",
        api_url="http://127.0.0.1:1",
        webhook_secret=SECRET,
        oversight_key="none",
        paused_because="A benchmark's connection: nothing is read from it.",
    ).webhook_id


def intake(port: int, webhook_id: str) -> float:
    """Post EVENTS webhooks from CLIENTS connections and return how many were stored a second."""
    bodies = [event() for _ in range(EVENTS)]
    signed = [(body, sign(body, SECRET)) for body in bodies]
    threads = [threading.Thread(target=post, args=(port, webhook_id, signed[n::CLIENTS])) for n in range(CLIENTS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return EVENTS / (time.perf_counter() - began)


def event() -> bytes:
    """Return a held message's webhook, different each time."""
    inner = {
        "email_id": uuid.uuid4().hex,
        "mailbox_id": "01BENCH",
        "mailbox": "support@yourteam.example",
        "from": "support@yourteam.example",
        "to": ["dana@northwind.example"],
        "subject": "Your refund for order 4471",
        "metadata": {"discord_user": "ana#1", "discord_channel": "outreach", "discord_guild": "Acme"},
    }
    return json.dumps({"event": "oversight.pending", "event_id": uuid.uuid4().hex, "data": inner}).encode()


def post(port: int, webhook_id: str, signed: list[tuple[bytes, str]]) -> None:
    """Post bodies one after the other over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for body, signature in signed:
        headers = {HEADER: signature, "Content-Type": "application/json"}
        connection.request("POST", f"/webhooks/multimail/{webhook_id}/", body, headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"the webhook was answered {answer.status}")
        answer.read()


def control() -> float:
    """Return the transactions a second that pgbench reaches with the same inserts."""
    copy_tables()
    return pgbench(SCRIPT, seconds=SECONDS, protocol="prepared")


def copy_tables() -> None:
    """Make empty copies of the tables, for the control to fill."""
    from django.conf import settings

    role = settings.DATABASES["default"]["USER"]
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as database:
        database.execute("DROP SCHEMA IF EXISTS bench CASCADE")
        database.execute("CREATE SCHEMA bench")
        database.execute(f'GRANT USAGE ON SCHEMA bench TO "{role}"')  # type: ignore[arg-type]
        for table in TABLES:
            database.execute(f"CREATE TABLE bench.{table} (LIKE public.{table} INCLUDING ALL)")  # type: ignore[arg-type]
            database.execute(f'GRANT INSERT ON bench.{table} TO "{role}"')  # type: ignore[arg-type]
