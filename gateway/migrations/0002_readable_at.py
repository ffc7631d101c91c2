from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("gateway", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="email",
            name="readable_at",
            field=models.DateTimeField(db_default=Now()),
        ),
        migrations.AddIndex(
            model_name="email",
            index=models.Index(
                fields=["mailbox", "readable_at", "id"], name="email_readable_since"
            ),
        ),
    ]
