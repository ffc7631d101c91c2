"""Gives entries an authentication code that the database cannot make, and an outcome that is never removed."""

from django.contrib.postgres.indexes import HashIndex
from django.db import migrations, models

# The id of the transaction comes first: a restore waits for all that may have taken a number by then.
FORWARDS = """
DROP FUNCTION audit_append(text, text, text, text, integer, uuid, text, text, jsonb, text, text, text, bytea, jsonb,
  tsvector);
CREATE FUNCTION audit_append(actor_kind text, actor_id text, surface text, action text, connection integer,
  message uuid, fingerprint text, trace text, detail_hashes jsonb, outcome text, mac text, up_to_time text,
  up_to_number text, up_to_xid text, salt bytea, fields jsonb, words tsvector) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  xid xid8 := pg_current_xact_id();
  number bigint := nextval('audit_entry_id_seq');
  at timestamptz := clock_timestamp();
  told text := to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US');
  leaf text := encode(sha256('\\x00'::bytea || convert_to(
    up_to_time || told || up_to_number || number || up_to_xid || xid::text || '"}', 'UTF8')), 'hex');
BEGIN
  INSERT INTO audit_entry (id, xid, at, actor_kind, actor_id, surface, action, connection, message, fingerprint, trace,
    detail_hashes, outcome, mac, leaf_hash)
  VALUES (number, xid, at, actor_kind, actor_id, surface, action, connection, message, fingerprint, trace,
    detail_hashes, outcome, mac, leaf);
  INSERT INTO audit_entrydetail (entry_id, salt, fields, words) VALUES (number, salt, fields, words);
  RETURN number || ' ' || xid::text || ' ' || leaf || ' ' || told;
END
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0008_append_by_function")]
    operations = [
        migrations.AddField("entry", "outcome", models.CharField(blank=True, default="", db_default="", max_length=16)),
        migrations.AddField("entry", "mac", models.CharField(blank=True, default="", db_default="", max_length=64)),
        migrations.AddIndex("entry", HashIndex(fields=["mac"], name="entry_mac")),
        migrations.RunSQL(FORWARDS, migrations.RunSQL.noop),
    ]
