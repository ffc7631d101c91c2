from django.db import migrations, models

# What the desk of version 1.0.0 sent for a message that had expired: no person can
# have written all of it.
FIND_EXPIRED = r"""
UPDATE gateway_email SET ended_by = 'expiry', decided_by = ''
WHERE decision = 'rejected' AND decided_by = 'A rule via Countersign'
AND decision_reason ~ ('^Expired: it was not approved before \d{4}-\d\d-\d\d \d\d:\d\d UTC\. '
    '\(A rule via Countersign, reference [0-9A-Z]{1,24}\)$')
"""


class Migration(migrations.Migration):
    dependencies = [("gateway", "0002_known_fingerprint")]

    operations = [
        migrations.AddField(
            "email",
            "ended_by",
            models.CharField(
                choices=[
                    ("person", "Person"),
                    ("pass", "Pass"),
                    ("rule", "Rule"),
                    ("expiry", "Expiry"),
                    ("elsewhere", "Elsewhere"),
                ],
                db_default="",
                default="",
                max_length=10,
            ),
        ),
        migrations.RunSQL(FIND_EXPIRED, migrations.RunSQL.noop),
    ]
