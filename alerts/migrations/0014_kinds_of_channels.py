from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("alerts", "0013_where_destinations_post")]

    operations = [
        # The kinds are the folders of alerts.channels.
        migrations.AlterField("destination", "kind", models.CharField(default="discord_webhook", max_length=20)),
    ]
