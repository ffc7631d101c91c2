"""The site's own rows: ticks of the beat, so that any number of beats may run."""

from django.db import models
from django.db.models.functions import Now


class Tick(models.Model):
    """One job in one period; the unique row lets exactly one worker run it."""

    job = models.CharField(max_length=60)
    period = models.BigIntegerField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "period"], name="tick_once")
        ]

    def __str__(self) -> str:
        return f"{self.job} {self.period}"
