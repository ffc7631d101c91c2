"""Makes the ledger append-only in the database itself, whoever writes to it."""

from django.db import migrations

FORWARDS = """
CREATE SEQUENCE audit_entry_id_seq;
ALTER SEQUENCE audit_entry_id_seq OWNED BY audit_entry.id;

CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % on % is refused', TG_OP, TG_TABLE_NAME;
END $$;

CREATE TRIGGER audit_entry_rows BEFORE UPDATE OR DELETE ON audit_entry
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_entry_whole BEFORE TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
-- Details may be deleted by retention, but never changed or emptied as a whole.
CREATE TRIGGER audit_entrydetail_rows BEFORE UPDATE ON audit_entrydetail
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_entrydetail_whole BEFORE TRUNCATE ON audit_entrydetail
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
"""

BACKWARDS = """
DROP TRIGGER audit_entrydetail_whole ON audit_entrydetail;
DROP TRIGGER audit_entrydetail_rows ON audit_entrydetail;
DROP TRIGGER audit_entry_whole ON audit_entry;
DROP TRIGGER audit_entry_rows ON audit_entry;
DROP FUNCTION audit_refuse();
DROP SEQUENCE audit_entry_id_seq;
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]
    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
