"""Counts quotas from an index alone, and drops indexes that others contain: every letter pays for each."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("gateway", "0005_usage_by_time")]

    operations = [
        migrations.RemoveIndex("email", "email_of_period"),
        migrations.AddIndex(
            "email",
            models.Index(
                fields=["account", "created_at"],
                condition=Q(direction="outbound", sandbox=False) & ~Q(status__in=("rejected", "cancelled")),
                name="email_charged",
            ),
        ),
        migrations.AddIndex(
            "email",
            models.Index(
                fields=["account", "created_at"], condition=Q(direction="inbound"), name="email_received_in_period"
            ),
        ),
        migrations.AddIndex("email", models.Index(fields=["message_id_header"], name="email_by_message_id")),
        migrations.AlterField("email", "message_id_header", models.CharField(max_length=300)),
        migrations.AlterField(
            "email",
            "account",
            models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="gateway.account",
            ),
        ),
        migrations.AlterField(
            "email",
            "mailbox",
            models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="emails",
                to="gateway.mailbox",
            ),
        ),
        migrations.AlterField(
            "idempotencyrecord",
            "mailbox",
            models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="gateway.mailbox",
            ),
        ),
        migrations.AlterField(
            "auditlogentry",
            "account",
            models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="gateway.account",
            ),
        ),
    ]
