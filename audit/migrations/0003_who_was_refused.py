from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_append_only")]
    operations = [
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(condition=models.Q(("action", "verdict.refused")), fields=["at"], name="entry_refused"),
        ),
    ]
