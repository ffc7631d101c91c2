"""Held messages by the hundred thousand, as reading them one by one would have left them, for benchmarks."""

import os

import psycopg
from django.db import connection as database

# Every eighth has a finding; in the middle five floods of a thousand each came at once.
FILL = """
WITH made AS (
  INSERT INTO mirror_message (public_id, connection_id, mailbox_id, upstream_id, direction, thread_id,
    upstream_status, state, sandbox, sender, recipients, subject, trigger, sent_by_key, sent_by_key_name, trace,
    held_at, hydrated_at, expires_at, seen_at, changed_at, fetch_tries, upstream_reason, upstream_decided_by,
    try_number, risk, risk_level, rules, addresses, outside, has_attachments, started_by, run_id, shape, bands,
    amounts, search)
  SELECT gen_random_uuid(), %(connection)s, (%(mailboxes)s::bigint[])[1 + n %% 2], '01BENCH' || n, 'outbound',
    'thread-' || n / 3, 'pending_send_approval', 'held', false, 'support@yourteam.example',
    jsonb_build_array('person' || n %% 5000 || '@customer' || n %% 700 || '.example', 'lee@fabrikam.example'),
    'Your refund for order ' || n, jsonb_build_object('discord_user', 'user#' || n %% 40, 'discord_channel', 'sales'),
    '', '', '', now() - interval '2 days' + n * interval '1 second', now(),
    CASE WHEN n %% 3 = 0 THEN now() + n * interval '1 second' END, now(), now(), 0, '', '', 1,
    CASE WHEN n %% 8 = 0 THEN 10 + n %% 60 ELSE 0 END, CASE WHEN n %% 8 = 0 THEN 'notice' ELSE '' END,
    CASE WHEN n %% 8 = 0 THEN ARRAY['first_contact'] ELSE '{}' END, ARRAY['lee@fabrikam.example'], 2, n %% 9 = 0,
    'discord:user#' || n %% 40, 'run-' || n / 10,
    CASE WHEN n BETWEEN 50001 AND 55000 THEN 'flood-' || n %% 5 ELSE md5(n::text) END, '{}', md5((n %% 7)::text),
    to_tsvector('simple', 'Your refund for order ' || n || ' person' || n %% 5000 || ' customer' || n %% 700 || ' '
      || md5(n::text) || ' we looked into it and the money is on its way to the account you named')
  FROM generate_series(%(first)s, %(last)s) AS n
  RETURNING id, subject
), revised AS (
  INSERT INTO mirror_revision (message_id, number, content, coverage, fingerprint, findings, created_at)
  SELECT id, 1, jsonb_build_object('subject', subject, 'markdown', repeat('We looked into it, and it is so. ', 40)),
    '[]', md5(subject) || md5(subject), '[]', now()
  FROM made RETURNING id, message_id
)
SELECT count(*) FROM revised
"""
TIE = """
UPDATE mirror_message m SET revision_id = r.id FROM mirror_revision r
WHERE r.message_id = m.id AND m.revision_id IS NULL
"""


def fill(connection: int, mailboxes: list[int], *, first: int, last: int) -> None:
    """Add the messages of these numbers, and let PostgreSQL know what there is."""
    values = {"connection": connection, "mailboxes": mailboxes, "first": first, "last": last}
    with database.cursor() as cursor:
        cursor.execute(FILL, values)
        cursor.execute(TIE)
    # Only their owner may; otherwise PostgreSQL does it by itself, sooner or later.
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute("VACUUM ANALYZE mirror_message, mirror_revision")
