from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("alerts", "0012_refusals_of_an_account")]

    operations = [
        migrations.AddField("destination", "posts_in", models.CharField(blank=True, db_default="", max_length=32)),
    ]
