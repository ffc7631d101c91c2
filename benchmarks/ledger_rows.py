"""Entries of the ledger by the hundred thousand, as `record` would have left them, with details and words."""

import os

import psycopg

from benchmarks.result import sized

ROWS = sized(1_000_000, smoke=2_000)
_AT_ONCE = 50_000
# All of one transaction that lies below every other. Their hashes are of nothing: only what checks them would notice.
_FILL = """
WITH made AS (
  INSERT INTO {entry} (id, xid, at, actor_kind, actor_id, surface, action, connection, message, fingerprint, trace,
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
INSERT INTO {detail} (entry_id, salt, fields, words)
SELECT id, sha256(id::text::bytea),
  jsonb_build_object('actor', 'Person ' || id %% 40, 'subject', 'Your refund for order ' || id / 6, 'recipients',
    'person' || id %% 5000 || '@customer' || id %% 700 || '.example'),
  to_tsvector('simple', 'person ' || id %% 40 || ' your refund for order ' || id / 6 || ' person' || id %% 5000 || ' '
    || 'customer' || id %% 700 || ' ' || md5((id / 6)::text))
FROM made
"""
_INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid IN (%s::regclass, %s::regclass) AND NOT indisunique
"""


def rows() -> int:
    """Return how many rows a benchmark has to be with: `--rows`, or a million."""
    return int(os.environ.get("BENCH_ROWS", ROWS))


def fill(number: int, *, after: int = 0, entry: str = "audit_entry", detail: str = "audit_entrydetail") -> None:
    """Add so many entries, later than so many that are there, and let PostgreSQL know what there is."""
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute("SET synchronous_commit = off")
        owner.execute("SET maintenance_work_mem = '1GB'")
        # An index is built in a tenth of the time that it takes to keep it in step with each row.
        indexes = owner.execute(_INDEXES, [entry, detail]).fetchall()
        for name, _ in indexes:
            owner.execute(f"DROP INDEX {name}")
        for first in range(after + 1, after + number + 1, _AT_ONCE):
            sql = _FILL.format(entry=entry, detail=detail)
            owner.execute(sql, [first, min(first + _AT_ONCE - 1, after + number)])
        for _, definition in indexes:
            owner.execute(definition)
        owner.execute(f"VACUUM ANALYZE {entry}, {detail}")
