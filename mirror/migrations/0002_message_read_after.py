from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("mirror", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="message",
            name="read_after",
            field=models.DateTimeField(null=True),
        ),
    ]
