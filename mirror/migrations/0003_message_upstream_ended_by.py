from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("mirror", "0002_read_lists_in_pages")]

    operations = [
        migrations.AddField(
            "message",
            "upstream_ended_by",
            models.CharField(
                choices=[
                    ("person", "Person"),
                    ("pass", "Pass"),
                    ("rule", "Rule"),
                    ("expiry", "Expiry"),
                    ("elsewhere", "Elsewhere"),
                ],
                db_default="",
                default="",
                max_length=10,
            ),
        ),
    ]
