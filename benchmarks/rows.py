"""Fills the database for benchmarks: a connection with mailboxes and a reviewer, held
messages and audit entries by the hundred thousand.
"""

import os
from typing import Any

import psycopg

# Messages 50,001 to 55,000 are five floods of a thousand each.
_MESSAGES = """
WITH made AS (
  INSERT INTO mirror_message (revision_id, public_id, connection_id, mailbox_id, upstream_id, direction, thread_id,
    upstream_status, state, sandbox, sender, recipients, subject, trigger, sent_by_key, sent_by_key_name, trace,
    held_at, hydrated_at, expires_at, seen_at, changed_at, fetch_tries, upstream_reason, upstream_decided_by,
    try_number, addresses, outside, has_attachments, started_by, run_id, shape,
    amounts, search)
  SELECT nextval(pg_get_serial_sequence('mirror_revision', 'id')), gen_random_uuid(), %(connection)s,
    (%(mailboxes)s::bigint[])[1 + n %% 2], '01BENCH' || n, 'outbound', 'thread-' || n / 3,
    'pending_send_approval', 'held', false, 'support@yourteam.example',
    jsonb_build_array('person' || n %% 5000 || '@customer' || n %% 700 || '.example', 'lee@fabrikam.example'),
    'Your refund for order ' || n, jsonb_build_object('discord_user', 'user#' || n %% 40, 'discord_channel', 'sales'),
    '', '', '', now() - interval '2 days' + n * interval '1 second', now(),
    CASE WHEN n %% 3 = 0 THEN now() + interval '2 days' + n * interval '1 second' END, now(), now(), 0, '', '', 1,
    ARRAY['lee@fabrikam.example'], 2, n %% 9 = 0,
    'discord:user#' || n %% 40, 'run-' || n / 10,
    CASE WHEN n BETWEEN 50001 AND 55000 THEN 'flood-' || n %% 5 ELSE md5(n::text) END, md5((n %% 7)::text),
    to_tsvector('simple', 'Your refund for order ' || n || ' person' || n %% 5000 || ' customer' || n %% 700 || ' '
      || md5(n::text) || ' we looked into it and the money is on its way to the account you named')
  FROM generate_series(%(first)s, %(last)s) AS n
  RETURNING id, revision_id, subject, recipients
)
INSERT INTO mirror_revision (id, message_id, number, content, coverage, fingerprint, findings, created_at)
SELECT revision_id, id, 1, %(content)s::jsonb || jsonb_build_object('subject', subject, 'to', recipients),
  %(coverage)s::jsonb, md5(subject) || md5(subject), '[]', now()
FROM made
"""
# Every eighth message has a finding.
_REVIEWS = """
UPDATE approvals_review SET risk_level = 'notice', rules = ARRAY['first_contact']
WHERE message_id % 8 = 0 AND risk_level = ''
"""
# All entries belong to one transaction that is older than all others. Their hashes are
# made up, which only a check of the ledger would notice.
_ENTRIES = """
WITH made AS (
  INSERT INTO audit_entry (id, xid, at, actor_kind, actor_id, surface, action, connection, message, fingerprint, trace,
    detail_hashes, mac, hash)
  SELECT nextval('audit_entry_id_seq'), '3', now() - interval '400 days' + n * interval '30 seconds',
    CASE WHEN n %% 4 = 0 THEN 'person' ELSE 'worker' END, (n %% 40)::text,
    (ARRAY['web', 'webhook', 'worker'])[1 + n %% 3],
    (ARRAY['message.held', 'message.fetched', 'message.served', 'message.opened', 'verdict.given', 'decision.applied'])
      [1 + n %% 6],
    1 + n %% 3, md5((n / 6)::text)::uuid, encode(sha256(n::text::bytea), 'hex'), '',
    jsonb_build_object('actor', encode(sha256(n::text::bytea), 'hex'), 'subject', encode(sha256(n::text::bytea), 'hex'),
      'recipients', encode(sha256(n::text::bytea), 'hex')),
    -- Codes differ: a hash index over millions of equal values is one long list.
    encode(sha256(('mac' || n)::bytea), 'hex'), encode(sha256(n::text::bytea), 'hex')
  FROM generate_series(%s::int, %s::int) AS n RETURNING id
)
INSERT INTO audit_entrydetail (entry_id, salt, fields, words)
SELECT id, sha256(id::text::bytea),
  jsonb_build_object('actor', 'Person ' || id %% 40, 'subject', 'Your refund for order ' || id / 6, 'recipients',
    'person' || id %% 5000 || '@customer' || id %% 700 || '.example'),
  to_tsvector('simple', 'person ' || id %% 40 || ' your refund for order ' || id / 6 || ' person' || id %% 5000 || ' '
    || 'customer' || id %% 700 || ' ' || md5((id / 6)::text))
FROM made
"""
_INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid IN ('audit_entry'::regclass, 'audit_entrydetail'::regclass) AND NOT indisunique
"""
# Entries that one statement inserts.
_AT_ONCE = 50_000


def make_desk() -> tuple[Any, Any]:
    """Make a connection with two mailboxes. Return it with a Django test client that is
    signed in as a reviewer of both.
    """
    from django.conf import settings
    from django.test import Client

    from tests.factories import make_connection, make_person

    settings.ALLOWED_HOSTS = ["testserver"]
    connection = make_connection()
    connection.mailboxes.create(upstream_id="01SALES", address="sales@yourteam.example")
    client = Client()
    client.force_login(
        make_person("bench@yourteam.example", "Bench", "reviewer"),
        backend="people.sign_in.backend.PersonBackend",
    )
    return connection, client


def lift_caps() -> None:
    """Remove all caps, so that a benchmark may send faster than any agent."""
    from approvals.models import Cap
    from approvals.models.reviews import Kind

    Cap.objects.bulk_create(Cap(kind=kind) for kind in Kind.values)


def add_messages(connection: Any, *, first: int, last: int) -> None:
    """Insert held messages with these numbers, each with a body of usual length."""
    from dataclasses import asdict

    from django.db import connection as database
    from psycopg.types.json import Json

    from common.fingerprint import FIELDS, Content

    paragraph = (
        "We looked into it, and the money is on its way to the account that you named. "
    )
    body = "\n\n".join(["Hello,", *([paragraph * 4] * 5), "Kind regards"])
    content = asdict(
        Content(
            sender="support@yourteam.example",
            sender_name="Your Team Support",
            markdown=body,
        )
    )
    del content["coverage"]
    values = {
        "connection": connection.pk,
        "mailboxes": list(connection.mailboxes.values_list("pk", flat=True)),
        "content": Json(content),
        "coverage": Json(list(FIELDS)),
    }
    with database.cursor() as cursor:
        cursor.execute(_MESSAGES, {**values, "first": first, "last": last})
        cursor.execute(_REVIEWS)
    # Otherwise PostgreSQL does this by itself during the measurement. Only the owner of
    # the tables may.
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute(
            "VACUUM ANALYZE mirror_message, mirror_revision, approvals_review"
        )


def add_entries(*, first: int, last: int) -> None:
    """Insert audit entries with these numbers."""
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute("SET synchronous_commit = off")
        owner.execute("SET maintenance_work_mem = '1GB'")
        # Building an index at the end takes a tenth of the time of updating it with
        # each row.
        indexes = owner.execute(_INDEXES).fetchall()
        for name, _ in indexes:
            owner.execute(f"DROP INDEX {name}")
        for start in range(first, last + 1, _AT_ONCE):
            owner.execute(_ENTRIES, [start, min(start + _AT_ONCE - 1, last)])
        for _, definition in indexes:
            owner.execute(definition)
        owner.execute("VACUUM ANALYZE audit_entry, audit_entrydetail")
