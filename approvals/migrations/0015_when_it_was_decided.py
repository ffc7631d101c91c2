import django.contrib.postgres.indexes
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("approvals", "0014_what_is_counted")]
    operations = [
        migrations.AddIndex(
            model_name="decision",
            index=django.contrib.postgres.indexes.BrinIndex(fields=["recorded_at"], name="decision_recorded_brin"),
        ),
        migrations.AddIndex(
            model_name="verdict",
            index=django.contrib.postgres.indexes.BrinIndex(fields=["given_at"], name="verdict_given_brin"),
        ),
    ]
