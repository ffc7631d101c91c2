from django.db import migrations, models
from django.db.models import F


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0013_what_rules_weigh"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="decision",
            index=models.Index(
                condition=models.Q(("state", "applied")), fields=["changed_at"], name="decision_applied"
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                F("changed_at").desc(),
                F("id").desc(),
                condition=models.Q(("state__in", ("failed", "bounced"))),
                name="message_failed",
            ),
        ),
    ]
