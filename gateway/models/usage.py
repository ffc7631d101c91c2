"""How much an account used the API, by day."""

from django.db import models

from gateway.models.accounts import Account
from gateway.querysets.usage import UsageDayQuerySet


class UsageDay(models.Model):
    """Calls of one account on one day (UTC). Mail is counted where it lies."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    day = models.DateField()
    api_calls = models.PositiveBigIntegerField(default=0)

    objects = UsageDayQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "day"], name="usage_day_once"),
        ]

    def __str__(self) -> str:
        return f"{self.account_id} {self.day}"
