"""Finds what left and what was decided within a period."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("gateway", "0004_webhook_rest")]

    operations = [
        migrations.AddIndex(
            "email",
            models.Index(fields=["account", "sent_at"], condition=~Q(sent_at=None), name="email_sent_in_period"),
        ),
        migrations.AddIndex(
            "email",
            models.Index(
                fields=["account", "decided_at"], condition=~Q(decided_at=None), name="email_decided_in_period"
            ),
        ),
    ]
