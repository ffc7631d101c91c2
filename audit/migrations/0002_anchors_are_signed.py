from django.db import migrations, models

APPEND_ONLY = """
CREATE TRIGGER audit_anchor_rows BEFORE UPDATE OR DELETE ON audit_anchor FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_anchor_whole BEFORE TRUNCATE ON audit_anchor FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
"""

# What no page and no check could read.
READABLE = """
ALTER TABLE audit_entry ADD CONSTRAINT audit_entry_readable
  CHECK (at BETWEEN '1970-01-01' AND '9000-01-01' AND jsonb_typeof(detail_hashes) = 'object');
ALTER TABLE audit_entrydetail ADD CONSTRAINT audit_entrydetail_readable CHECK (jsonb_typeof(fields) = 'object');
ALTER TABLE audit_sealedentry ADD CONSTRAINT audit_sealedentry_readable CHECK (position >= 0);
ALTER TABLE audit_seal ADD CONSTRAINT audit_seal_readable CHECK (at BETWEEN '1970-01-01' AND '9000-01-01');
ALTER TABLE audit_anchor ADD CONSTRAINT audit_anchor_readable CHECK (at BETWEEN '1970-01-01' AND '9000-01-01');
"""

# Removes the details of sealed entries that a sealed entry lists, and returns of how
# many; of none if the entry is not sealed, or lists none. Entries that list such
# details keep their own, which hold nothing personal but who removed them.
REMOVE_DETAILS = """
DROP FUNCTION audit_remove_details(bigint, bigint[]);
CREATE FUNCTION audit_remove_details(removal bigint)
  RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  ends bigint[];
  removed bigint;
  total bigint := 0;
BEGIN
  FOR ends IN
    SELECT regexp_split_to_array(part, '-')::bigint[]
      FROM audit_entry entry
      JOIN audit_sealedentry sealed ON sealed.entry = entry.id
      JOIN audit_entrydetail detail ON detail.entry_id = entry.id,
           regexp_split_to_table(detail.fields->>'numbers', ' ') AS part
     WHERE entry.id = removal AND entry.action IN ('ledger.details_removed', 'ledger.details_erased')
       AND entry.detail_hashes->>'numbers' = encode(sha256(detail.salt || '\\x00'::bytea || 'numbers'::bytea
           || '\\x00'::bytea || convert_to(detail.fields->>'numbers', 'UTF8')), 'hex')
  LOOP
    DELETE FROM audit_entrydetail detail USING audit_entry entry, audit_sealedentry sealed
     WHERE detail.entry_id BETWEEN ends[1] AND ends[cardinality(ends)] AND detail.entry_id < removal
       AND entry.id = detail.entry_id AND sealed.entry = detail.entry_id
       AND entry.action NOT IN ('ledger.details_removed', 'ledger.details_erased');
    GET DIAGNOSTICS removed = ROW_COUNT;
    total := total + removed;
  END LOOP;
  RETURN total;
END
$$;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('audit', '0001_initial'),
    ]

    operations = [
        # The anchors of the seals' file are written again, from its lines.
        migrations.DeleteModel(name='Anchor'),
        migrations.CreateModel(
            name='Anchor',
            fields=[
                ('pk', models.CompositePrimaryKey('kind', 'place', 'seal', blank=True, editable=False, primary_key=True, serialize=False)),
                ('seal', models.BigIntegerField(db_index=True)),
                ('seal_signature', models.CharField(max_length=128)),
                ('kind', models.CharField(choices=[('file', 'File'), ('discord', 'Discord')], max_length=8)),
                ('place', models.TextField()),
                ('reference', models.CharField(max_length=64)),
                ('previous', models.BigIntegerField(default=0)),
                ('at', models.DateTimeField()),
                ('key', models.CharField(max_length=64)),
                ('signature', models.CharField(max_length=128)),
            ],
        ),
        migrations.RunSQL(APPEND_ONLY, migrations.RunSQL.noop),
        migrations.RunSQL(READABLE, migrations.RunSQL.noop),
        migrations.RunSQL(REMOVE_DETAILS, migrations.RunSQL.noop),
    ]
