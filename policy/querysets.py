"""Every read of what admins and reviewers set."""

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Q

if TYPE_CHECKING:
    from policy.models import KillSwitch  # noqa: F401 - the queryset's type parameter


class KillSwitchQuerySet(models.QuerySet["KillSwitch"]):
    """Reads of the kill switch."""

    def pulled(self) -> Self:
        """Those that stop something now."""
        return self.filter(released_at=None)

    def stopping(self, *, connection: object, mailbox: object) -> Self:
        """Those pulled for everything, for this connection or for this mailbox: keys, or references of a query."""
        everything = Q(connection=None, mailbox=None)
        return self.pulled().filter(everything | Q(connection=connection) | Q(mailbox=mailbox))
