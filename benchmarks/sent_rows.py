"""Mail of the last month by the hundred thousand, with many recipients, for benchmarks of allowlists."""

import json
import os

import psycopg
from django.db import connection as database

from common.fingerprint import FIELDS

# As reading it left it: a letter of ordinary length, every third with a second recipient.
FILL = """
WITH made AS (
  INSERT INTO mirror_message (public_id, connection_id, mailbox_id, upstream_id, direction, thread_id,
    upstream_status, state, sandbox, sender, recipients, subject, trigger, sent_by_key, sent_by_key_name, trace,
    held_at, hydrated_at, seen_at, changed_at, fetch_tries, upstream_reason, upstream_decided_by, try_number, risk,
    risk_level, rules, addresses, written_to, outside, has_attachments, started_by, run_id, shape, bands, amounts,
    search, hits_counted_at, policy_applied)
  SELECT gen_random_uuid(), %(connection)s, (%(mailboxes)s::bigint[])[1 + n %% 2], '01SENT' || n, 'outbound',
    'thread-' || n / 3, 'sent', 'sent', false, 'support@yourteam.example', to_jsonb(who), 'Your refund ' || n,
    '{}', '', '', '', now() - n * interval '25 seconds', now(), now(), now() - n * interval '25 seconds', 0, '', '', 1,
    0, '', '{}', who, who, 2, false, 'discord:user#' || n %% 40, '', md5(n::text), '{}', '',
    to_tsvector('simple', 'Your refund ' || n || ' ' || md5(n::text)), now(), 0
  FROM generate_series(1, %(number)s) AS n, LATERAL (SELECT array_remove(ARRAY[
    'person' || n * 7919 %% %(people)s || '@customer' || n * 7919 %% %(people)s %% %(domains)s || '.example',
    CASE WHEN n %% 3 = 0 THEN 'person' || n %% %(people)s || '@customer' || n %% %(people)s %% %(domains)s || '.example'
    END], NULL) AS who) AS said
  RETURNING id, subject, to_jsonb(written_to) AS written_to
), revised AS (
  INSERT INTO mirror_revision (message_id, number, content, coverage, fingerprint, findings, created_at)
  SELECT id, 1, jsonb_build_object('sender', 'support@yourteam.example', 'to', written_to, 'cc', '[]'::jsonb, 'bcc',
    '[]'::jsonb, 'subject', subject, 'markdown', repeat('We looked into it, and it is so. ', 40), 'attachments',
    '[]'::jsonb, 'additions', '{}'::jsonb), %(coverage)s::jsonb, md5(subject) || md5(subject), '[]', now()
  FROM made RETURNING id
)
SELECT count(*) FROM revised
"""
TIE = """
UPDATE mirror_message m SET revision_id = r.id FROM mirror_revision r
WHERE r.message_id = m.id AND m.revision_id IS NULL
"""
VARY = """
UPDATE mirror_message SET try_number = 1 + (id % 20 = 0)::int, sent_by_key = 'key' || id % 8,
  risk_level = CASE WHEN id % 10 = 0 THEN 'high' WHEN id % 3 = 0 THEN 'notice' ELSE '' END,
  rules = CASE WHEN id % 10 = 0 THEN ARRAY['payment_details'] WHEN id % 3 = 0 THEN ARRAY['first_contact'] ELSE '{}' END,
  trigger = CASE WHEN id % 4 = 0 THEN jsonb_build_object('discord_user', 'user#' || id % 40) ELSE '{}' END,
  policy_facts = jsonb_build_object(
    'amounts', CASE WHEN id % 5 = 0 THEN jsonb_build_object('EUR', (id % 3000)::text) ELSE '{}' END,
    'attachments', CASE WHEN id % 7 = 0 THEN '["document", "pdf"]'::jsonb ELSE '[]' END,
    'own_words', '[]'::jsonb)
"""
ENTRIES = """
INSERT INTO policy_allowentry (allowlist_id, pattern, note, expires_at, added_at, hits)
SELECT %(list)s, CASE WHEN n %% 2 = 0 THEN 'customer' || n || '.example' ELSE 'person' || n || '@customer' || n ||
  '.example' END, '', NULL, now(), 0
FROM generate_series(%(first)s, %(last)s) AS n
"""


def fill(connection: int, mailboxes: list[int], *, number: int, people: int, domains: int) -> None:
    """Add so many messages to so many people of so many domains, the newest of just now."""
    values = {"connection": connection, "mailboxes": mailboxes, "number": number, "people": people, "domains": domains}
    with database.cursor() as cursor:
        cursor.execute(FILL, values | {"coverage": json.dumps(FIELDS)})
        cursor.execute(TIE)
    _let_it_settle("mirror_message, mirror_revision")


def vary() -> None:
    """Let the messages differ in what rules of the policy ask about, as real mail does."""
    with database.cursor() as cursor:
        cursor.execute(VARY)
    _let_it_settle("mirror_message")


def add_entries(list_id: int, *, first: int, last: int) -> None:
    """Add the entries of these numbers to a list: every second a whole domain, the others one person."""
    with database.cursor() as cursor:
        cursor.execute(ENTRIES, {"list": list_id, "first": first, "last": last})
    _let_it_settle("policy_allowentry")


def _let_it_settle(tables: str) -> None:
    # Only their owner may; otherwise PostgreSQL does it by itself, sooner or later.
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute(f"VACUUM ANALYZE {tables}".encode())
