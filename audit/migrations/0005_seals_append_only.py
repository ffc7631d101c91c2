"""Lets nobody change what was sealed, and finds the entries of before by their words too."""

from django.db import migrations

from audit.recording import found_by

TABLES = ("audit_seal", "audit_leaf", "audit_block", "audit_anchor")
FORWARDS = "".join(
    f"""
CREATE TRIGGER {table}_rows BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER {table}_whole BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
"""
    for table in TABLES
)
BACKWARDS = "".join(
    f"DROP TRIGGER {table}_whole ON {table}; DROP TRIGGER {table}_rows ON {table};" for table in TABLES
)
AT_ONCE = 1000


def find_words(apps, schema_editor):
    """Words are no part of what an entry says: the trigger that guards the details is off for this one column."""
    details = apps.get_model("audit", "EntryDetail").objects.filter(words=None).order_by("pk")
    if not details.exists():
        return
    run = schema_editor.execute
    run("ALTER TABLE audit_entrydetail DISABLE TRIGGER audit_entrydetail_rows")
    while rows := list(details.values_list("pk", "fields")[:AT_ONCE]):
        for entry, fields in rows:
            run("UPDATE audit_entrydetail SET words = %s::tsvector WHERE entry_id = %s", [found_by(fields), entry])
    run("ALTER TABLE audit_entrydetail ENABLE TRIGGER audit_entrydetail_rows")


class Migration(migrations.Migration):
    dependencies = [("audit", "0004_seals_and_search")]
    operations = [
        migrations.RunSQL(FORWARDS, BACKWARDS),
        migrations.RunPython(find_words, migrations.RunPython.noop),
    ]
