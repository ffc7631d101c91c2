"""The abstract model of a delivery: something to send over HTTP, with the number of its
attempts and when the next one is due. Subclasses add what is sent, and where.
"""

from datetime import timedelta
from typing import Any, Self

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

# Longer than one attempt can take (guarded.py), with the look-up of a name before it:
# only the row of a dead worker is claimed again.
LEASE = timedelta(seconds=45)


class DeliveryQuerySet(models.QuerySet[Any]):
    """Queries and claims of deliveries. Due times and leases use the database's clock."""

    def due(self) -> Self:
        """Rows to try now: those whose time has come, and those whose worker died, so
        that their lease expired.
        """
        return self.filter(
            Q(state=Delivery.State.DUE, next_attempt_at__lte=Now())
            | Q(state=Delivery.State.SENDING, lease_until__lt=Now())
        )

    def claim(self, pk: int) -> Any | None:
        """Claim row `pk` for one attempt and return it; None if it is not due, or
        another worker has claimed it.
        """
        return self.get(pk=pk) if self.due().filter(pk=pk).take() else None

    def take(self) -> int:
        """Claim all these rows for one attempt; return how many there were."""
        return self.update(
            state=Delivery.State.SENDING,
            attempts=F("attempts") + 1,
            lease_until=Now() + LEASE,
        )


class Delivery(models.Model):
    """One thing to deliver to one receiver; subclasses say what and where."""

    class State(models.TextChoices):
        DUE = "due"
        SENDING = "sending"
        DELIVERED = "delivered"
        FAILED = "failed"

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
        # Only this attempt's own claim is finished: a worker that was too slow cannot
        # overwrite a later attempt. The number of attempts alone does not identify
        # the claim, because an attempt that does not count lowers it again.
        this_attempt = type(self)._default_manager.filter(
            pk=self.pk,
            state=self.State.SENDING,
            attempts=self.attempts,
            lease_until=self.lease_until,
        )
        return bool(
            this_attempt.update(lease_until=None, last_attempt_at=Now(), **fields)
        )

    def delivered(self, *, status: int) -> bool:
        """Record success; return False if another attempt has claimed the row since."""
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
        """Make the row due again in `seconds`. With `counts` False the attempt is not
        counted, because the receiver only asked to wait.
        """
        return self._finish(
            state=self.State.DUE,
            next_attempt_at=Now() + timedelta(seconds=seconds),
            attempts=F("attempts") if counts else F("attempts") - 1,
            response_status=status,
            last_error=error[:2000],
        )
