"""The site's own models: which periodic job ran in which period, so that any number of
workers may send the jobs; and the hosts that run the desk (hosts.py).
"""

from django.db import models
from django.db.models.functions import Now

# The job of the row that a backup leaves.
BACKUP = "backup"


class Tick(models.Model):
    """One job in one period. Its row is unique, so that only one worker runs the
    job.
    """

    job = models.CharField(max_length=60)
    # The number of the period since 1970.
    period = models.BigIntegerField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "period"], name="tick_once")
        ]


class Host(models.Model):
    """A host that runs the desk or the gateway. `settings` has the values that all
    hosts must share, by name.
    """

    name = models.CharField(max_length=255, unique=True)
    version = models.CharField(max_length=40)
    settings = models.JSONField(default=dict)
    joined_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.name
