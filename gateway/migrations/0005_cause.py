from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("gateway", "0004_email_trace")]

    operations = [
        migrations.AddField(
            model_name="email",
            name="cause",
            field=models.CharField(db_default="", default="", max_length=12),
        ),
    ]
