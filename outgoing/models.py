"""The abstract delivery row: something that must go out over HTTP, with its attempts.
It knows no destination.
"""

from datetime import timedelta
from typing import Any, Self

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

# Above the time limit of one attempt (guarded.py) and the longest look-up of a name
# before it, so that a row is taken over only from a dead worker.
LEASE = timedelta(seconds=45)


class DeliveryQuerySet(models.QuerySet[Any]):
    """Reads and claims of delivery rows; due times and leases use the database's clock."""

    def due(self) -> Self:
        """Rows that should be tried now: due ones, and those whose worker died holding
        the lease.
        """
        return self.filter(
            Q(state=Delivery.State.DUE, next_attempt_at__lte=Now())
            | Q(state=Delivery.State.SENDING, lease_until__lt=Now())
        )

    def claim(self, pk: int) -> Any | None:
        """Take row `pk` for one attempt and return it, or None when somebody else has
        it or it is not due.
        """
        return self.get(pk=pk) if self.due().filter(pk=pk).take() else None

    def take(self) -> int:
        """Give these rows to the caller for one attempt; returns how many there were."""
        return self.update(
            state=Delivery.State.SENDING,
            attempts=F("attempts") + 1,
            lease_until=Now() + LEASE,
        )


class Delivery(models.Model):
    """One thing to deliver to one destination; subclasses say what and where."""

    class State(models.TextChoices):
        DUE = "due", "Due"
        SENDING = "sending", "Sending"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Failed"

    state = models.CharField(max_length=12, choices=State, default=State.DUE)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(db_default=Now())
    lease_until = models.DateTimeField(null=True)
    response_status = models.PositiveIntegerField(null=True)
    last_error = models.TextField()
    trace = models.CharField(max_length=64)
    created_at = models.DateTimeField(db_default=Now())
    last_attempt_at = models.DateTimeField(null=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        abstract = True

    def _finish(self, **fields: Any) -> bool:
        # Number and lease fence the write: a worker that wakes up after its lease
        # cannot overwrite a newer attempt. The number alone would not do, because
        # attempts that do not count lower it again.
        mine = type(self)._default_manager.filter(
            pk=self.pk,
            state=self.State.SENDING,
            attempts=self.attempts,
            lease_until=self.lease_until,
        )
        return bool(mine.update(lease_until=None, last_attempt_at=Now(), **fields))

    def delivered(self, *, status: int) -> bool:
        """Record success; return False when a newer attempt has claimed the row."""
        return self._finish(
            state=self.State.DELIVERED, response_status=status, last_error=""
        )

    def failed(self, *, error: str, status: int | None = None) -> bool:
        """Record the final failure."""
        return self._finish(
            state=self.State.FAILED, response_status=status, last_error=error[:2000]
        )

    def postponed(
        self,
        *,
        seconds: float,
        error: str,
        status: int | None = None,
        counts: bool = True,
    ) -> bool:
        """Make the row due again in `seconds`. With `counts` False (asked to wait) the
        attempt is not counted.
        """
        return self._finish(
            state=self.State.DUE,
            next_attempt_at=Now() + timedelta(seconds=seconds),
            attempts=F("attempts") if counts else F("attempts") - 1,
            response_status=status,
            last_error=error[:2000],
        )
