"""When a destination last took a test, and when it was removed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("alerts", "0003_acts_that_turn_cards")]

    operations = [
        migrations.AddField(
            model_name="destination",
            name="tested_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="destination",
            name="removed_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
