import common.identifiers
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("gateway", "0010_domain_records")]

    operations = [
        migrations.CreateModel(
            name="Signup",
            fields=[
                (
                    "id",
                    models.CharField(
                        default=common.identifiers.ulid,
                        editable=False,
                        max_length=26,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("challenge", models.CharField(max_length=64, unique=True)),
                ("operator_name", models.CharField(max_length=80)),
                ("oversight_email", models.CharField(max_length=254)),
                ("slug", models.CharField(max_length=60)),
                (
                    "oversight_mode",
                    models.CharField(
                        choices=[
                            ("read_only", "Read Only"),
                            ("gated_all", "Gated All"),
                            ("gated_send", "Gated Send"),
                            ("monitored", "Monitored"),
                            ("autonomous", "Autonomous"),
                        ],
                        max_length=12,
                    ),
                ),
                ("physical_address", models.CharField(blank=True, max_length=300)),
                ("use_case", models.CharField(blank=True, max_length=200)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("expires_at", models.DateTimeField()),
                ("codes", models.PositiveIntegerField(default=1)),
                ("code_sha256", models.CharField(max_length=64)),
                ("mailed_at", models.DateTimeField(null=True)),
                ("tries", models.PositiveIntegerField(default=0)),
                ("next_try_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("confirmed_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("confirmed_at", None)), fields=["code_sha256"], name="signup_by_code"
                    ),
                    models.Index(
                        condition=models.Q(("confirmed_at", None), ("mailed_at", None)),
                        fields=["next_try_at"],
                        name="signup_to_mail",
                    ),
                ],
            },
        ),
    ]
