import common.encryption
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("gateway", "0009_what_is_told_of_mail")]

    operations = [
        migrations.RemoveField("domain", "mx_verified"),
        migrations.RemoveField("domain", "return_path_verified"),
        migrations.RemoveField("domain", "spf_verified"),
        migrations.AddField("domain", "dns_problems", models.JSONField(default=dict)),
        migrations.AddField("domain", "looked_at", models.DateTimeField(null=True)),
        migrations.CreateModel(
            name="DkimKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("selector", models.CharField(max_length=63)),
                ("private_key", common.encryption.EncryptedTextField()),
                ("public_key", models.TextField()),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("verified_at", models.DateTimeField(null=True)),
                ("retired_at", models.DateTimeField(null=True)),
                (
                    "domain",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="dkim_keys", to="gateway.domain"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("domain", "selector"), name="dkim_selector_once")
                ],
            },
        ),
        # Of mailboxes that are made from now on.
        migrations.AlterField("mailbox", "ai_disclosure", models.BooleanField(default=True)),
    ]
