"""The site's own model: which periodic job ran in which period, so that any number of
workers may send the jobs.
"""

from django.db import models
from django.db.models.functions import Now


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

    def __str__(self) -> str:
        return f"{self.job} {self.period}"
