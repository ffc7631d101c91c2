from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("gateway", "0002_readable_at")]

    operations = [
        migrations.AddField(
            model_name="email",
            name="relay_id",
            field=models.CharField(db_default="", default="", max_length=100),
        ),
        migrations.AddIndex(
            model_name="email",
            index=models.Index(
                condition=~models.Q(relay_id=""),
                fields=["relay_id"],
                name="email_by_relay_id",
            ),
        ),
    ]
