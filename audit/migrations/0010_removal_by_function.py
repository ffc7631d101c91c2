"""Lets details be removed by a function alone, which writes the entry that names whose they were."""

from django.db import migrations

# Whoever calls it says what the entry says; the function sees to it that this is what happens. Entries that tell of
# removals keep their details, which hold nothing personal but who removed them.
FORWARDS = """
CREATE FUNCTION audit_remove_details(numbers bigint[], actor_kind text, actor_id text, surface text, action text,
  connection integer, message uuid, fingerprint text, trace text, detail_hashes jsonb, outcome text, mac text,
  up_to_time text, up_to_number text, up_to_xid text, salt bytea, fields jsonb, words tsvector)
  RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  named text;
BEGIN
  IF action NOT IN ('ledger.details_removed', 'ledger.details_erased') THEN
    RAISE EXCEPTION 'the ledger is append-only: % removes no details', action;
  END IF;
  WITH removed AS (
    DELETE FROM audit_entrydetail detail USING audit_entry entry, audit_leaf leaf
     WHERE detail.entry_id = ANY(numbers) AND entry.id = detail.entry_id AND leaf.entry = detail.entry_id
       AND entry.action NOT IN ('ledger.details_removed', 'ledger.details_erased')
    RETURNING detail.entry_id AS number
  ), placed AS (
    SELECT number, number - row_number() OVER (ORDER BY number) AS run FROM removed
  ), runs AS (
    SELECT min(number) AS first, max(number) AS last FROM placed GROUP BY run
  )
  SELECT string_agg(CASE WHEN first = last THEN first::text ELSE first || '-' || last END, ' ' ORDER BY first)
    INTO named FROM runs;
  IF named IS DISTINCT FROM fields->>'numbers' OR detail_hashes->>'numbers' IS DISTINCT FROM
    encode(sha256(salt || '\\x00'::bytea || 'numbers'::bytea || '\\x00'::bytea || convert_to(named, 'UTF8')), 'hex') THEN
    RAISE EXCEPTION 'the entry does not name the details that it removes';
  END IF;
  RETURN audit_append(actor_kind, actor_id, surface, action, connection, message, fingerprint, trace, detail_hashes,
    outcome, mac, up_to_time, up_to_number, up_to_xid, salt, fields, words);
END
$$;
"""
BACKWARDS = """
DROP FUNCTION audit_remove_details(bigint[], text, text, text, text, integer, uuid, text, text, jsonb, text, text, text,
  text, text, bytea, jsonb, tsvector)
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0009_macs_and_outcomes")]
    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
