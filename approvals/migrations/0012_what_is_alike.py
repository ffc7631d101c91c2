from django.db import migrations, models
from django.db.models import DateTimeField, F, Func, IntegerField

# Whoever changes what the queue is sorted by changes its place, and somebody who pages through it must be told.
RANKED = """
CREATE FUNCTION approvals_note_rank() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.ranked_at := clock_timestamp();
    RETURN NEW;
END
$$;
CREATE TRIGGER approvals_message_ranked BEFORE UPDATE OF risk, expires_at ON approvals_message
    FOR EACH ROW WHEN (OLD.risk <> NEW.risk OR OLD.expires_at IS DISTINCT FROM NEW.expires_at)
    EXECUTE FUNCTION approvals_note_rank();
"""
FORGET = """
DROP TRIGGER approvals_message_ranked ON approvals_message;
DROP FUNCTION approvals_note_rank();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0011_what_is_enclosed"),
    ]

    operations = [
        migrations.AddField(
            model_name="message",
            name="amounts",
            field=models.CharField(blank=True, max_length=32),
        ),
        migrations.AddField(
            model_name="message",
            name="ranked_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.RemoveIndex(model_name="message", name="message_held_alike"),
        migrations.RemoveIndex(model_name="message", name="message_riskiest"),
        migrations.RemoveIndex(model_name="message", name="message_soonest"),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                Func(F("risk"), template="(-%(expressions)s)", output_field=IntegerField()),
                F("held_at"),
                F("id"),
                condition=models.Q(("state", "held")),
                name="message_by_risk",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                Func(
                    F("expires_at"),
                    template="COALESCE(%(expressions)s, timestamptz 'infinity')",
                    output_field=DateTimeField(),
                ),
                F("held_at"),
                F("id"),
                condition=models.Q(("state", "held")),
                name="message_by_end",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("state", "held")), fields=["shape", "risk", "held_at", "id"], name="message_alike"
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("run_id", ""), _negated=True), fields=["run_id"], name="message_run"
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(condition=models.Q(("state", "held")), fields=["ranked_at"], name="message_ranked"),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("revision__isnull", False), ("search", None)),
                fields=["id"],
                name="message_without_facets",
            ),
        ),
        migrations.RunSQL(RANKED, FORGET),
    ]
