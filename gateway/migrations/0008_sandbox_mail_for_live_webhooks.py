"""Lets a live webhook ask for sandbox mail. Those that are there heard of it until now, and go on to."""

from typing import Any

from django.db import migrations, models


def go_on(apps: Any, schema_editor: Any) -> None:
    apps.get_model("gateway", "Webhook").objects.filter(sandbox=False).update(include_sandbox=True)


class Migration(migrations.Migration):
    dependencies = [("gateway", "0007_sandbox_webhooks")]

    operations = [
        migrations.AddField(
            "webhook", "include_sandbox", models.BooleanField(db_default=False, default=False)
        ),
        migrations.RunPython(go_on, migrations.RunPython.noop),
    ]
