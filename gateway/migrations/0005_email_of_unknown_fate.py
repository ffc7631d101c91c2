from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("gateway", "0004_key_expires_at")]

    operations = [
        migrations.AddIndex(
            model_name="email",
            index=models.Index(
                condition=models.Q(("fate_unknown", True)),
                fields=["data_attempted_at"],
                name="email_of_unknown_fate",
            ),
        ),
    ]
