from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0017_what_was_rejected_nearly"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("state", "held")),
                fields=["risk_level", "held_at", "id"],
                name="message_held_at_risk",
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                condition=models.Q(("has_attachments", True), ("state", "held")),
                fields=["held_at", "id"],
                name="message_held_with_files",
            ),
        ),
    ]
