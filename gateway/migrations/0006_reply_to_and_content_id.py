from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("gateway", "0005_email_of_unknown_fate")]

    operations = [
        migrations.AlterField("email", "reply_to", models.TextField()),
        migrations.AddField(
            "attachment",
            "content_id",
            models.CharField(max_length=100, default="", db_default=""),
        ),
    ]
