from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("gateway", "0003_email_ended_by")]

    operations = [
        migrations.AddField("apikey", "expires_at", models.DateTimeField(null=True)),
    ]
