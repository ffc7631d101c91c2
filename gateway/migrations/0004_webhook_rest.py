"""Lets a slow endpoint rest, keeps why one failed, and how each attempt of a delivery went."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("gateway", "0003_domains_of_mailboxes")]

    operations = [
        migrations.AddField("webhook", "rests_until", models.DateTimeField(null=True)),
        migrations.AddField("webhook", "slow_attempts", models.PositiveIntegerField(default=0)),
        migrations.AddField("webhook", "last_error", models.TextField(blank=True, default="")),
        migrations.AddField("webhookdelivery", "history", models.JSONField(default=list)),
    ]
