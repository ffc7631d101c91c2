from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("alerts", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="delivery",
            name="in_quiet_time",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="delivery",
            name="may_have_left",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
