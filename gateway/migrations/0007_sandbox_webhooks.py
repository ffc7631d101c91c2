"""Lets a sandbox key subscribe to sandbox mail only."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("gateway", "0006_fewer_indexes")]

    operations = [migrations.AddField("webhook", "sandbox", models.BooleanField(default=False))]
