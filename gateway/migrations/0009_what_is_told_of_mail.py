from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("gateway", "0008_sandbox_mail_for_live_webhooks")]

    operations = [
        # It never had any effect, and is refused now.
        migrations.RunSQL(
            "UPDATE gateway_mailbox SET forward_inbound = false WHERE forward_inbound", migrations.RunSQL.noop
        ),
        migrations.AddField("email", "has_return_address", models.BooleanField(db_default=False, default=False)),
        migrations.AddField("email", "reported", models.JSONField(default=dict)),
        migrations.AddField("email", "user_label", models.CharField(blank=True, db_default="", max_length=8)),
    ]
