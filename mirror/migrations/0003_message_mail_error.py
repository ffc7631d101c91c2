from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("mirror", "0002_message_read_after")]

    operations = [
        migrations.AddField(
            model_name="message",
            name="mail_error",
            field=models.TextField(default="", db_default=""),
        ),
    ]
