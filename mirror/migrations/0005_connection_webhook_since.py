from django.db import migrations, models
from django.db.models.functions import Now


def begin_now(apps, schema_editor):
    # When it was registered was not stored.
    connections = apps.get_model("mirror", "Connection").objects
    connections.exclude(upstream_webhook_id="").update(webhook_since=Now())


class Migration(migrations.Migration):

    dependencies = [
        ("mirror", "0004_time_and_rows_of_whole_reads"),
    ]

    operations = [
        migrations.AddField(
            model_name="connection",
            name="webhook_since",
            field=models.DateTimeField(null=True),
        ),
        migrations.RunPython(begin_now, migrations.RunPython.noop),
    ]
