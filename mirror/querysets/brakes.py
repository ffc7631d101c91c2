"""Reads of caps, of what came lately, and of floods."""

from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from django.apps import apps
from django.contrib.postgres.expressions import ArraySubquery
from django.db import models
from django.db.models import (
    Count,
    DateTimeField,
    Exists,
    ExpressionWrapper,
    F,
    Func,
    OuterRef,
    Q,
    Subquery,
)
from django.db.models.functions import Coalesce, Now

from mirror.querysets.messages import visible_condition
from mirror.states import MessageState
from people.actors import Actor

if TYPE_CHECKING:
    from mirror.models import Arrival, Brake, Message  # noqa: F401 - the types of the querysets

# The longest window of a cap.
COUNTED_FOR = timedelta(days=1)


class ArrivalQuerySet(models.QuerySet["Arrival"]):
    """Reads of what came."""

    def of_message(self, message: "Message") -> Self:
        """What a message counts for (arrival_once)."""
        return self.filter(connection=message.connection_id, upstream_id=message.upstream_id)

    def numbers(self, message: "Message", *, within: timedelta, most: int) -> dict[str, int]:
        """Return how many came lately for the same as a message, itself included, by what it counts for.

        They are counted up to `most`, so that a flood costs no more than its cap (arrival_counted).
        """
        same = self.filter(connection=message.connection_id, what=OuterRef("what"), at__gt=Now() - within)
        number = Func(ArraySubquery(same.values("pk")[:most]), function="cardinality")
        return dict(self.of_message(message).values_list("what", number))

    def past(self) -> Self:
        """Those that no cap counts any more (arrival_old)."""
        return self.filter(at__lt=Now() - COUNTED_FOR)


class BrakeQuerySet(models.QuerySet["Brake"]):
    """Reads of floods."""

    def open(self) -> Self:
        """Those whose cap is still passed, as far as was noticed."""
        return self.filter(ended_at=None)

    def over(self) -> Self:
        """Open ones of which fewer than the cap came within its window, by the database's clock (arrival_counted)."""
        arrivals = apps.get_model("mirror", "Arrival").objects.order_by()
        since = ExpressionWrapper(Now() - OuterRef("window"), DateTimeField())
        came = arrivals.filter(connection=OuterRef("connection"), what=OuterRef("what"), at__gt=since)
        number = came.values("what").annotate(number=Count("pk"))
        lately = Coalesce(Subquery(number.values("number")), 0)
        return self.open().annotate(lately=lately).filter(lately__lt=F("cap")).order_by("pk")

    def with_all(self) -> Self:
        """With what a page shows of each, newest first."""
        return self.select_related("connection", "mailbox").order_by("-opened_at", "-pk")

    def filter_shown(self, apart: Collection[int]) -> Self:
        """Those with messages that stand apart, by key, and those that are open."""
        return self.filter(Q(pk__in=list(apart)) | Q(ended_at=None))

    def to_reject(self) -> Self:
        """Those whose messages somebody asked to reject, and that are not done (brake_to_reject)."""
        return self.filter(reject_to__isnull=False).order_by("pk")

    def visible_to(self, actor: Actor) -> Self:
        """Those of a connection or mailbox that the actor may see, or with a message of theirs that is set apart."""
        if actor.sees_all():
            return self
        messages = apps.get_model("mirror", "Message").objects
        theirs = messages.filter(visible_condition(actor), brake=OuterRef("pk"), state=MessageState.HELD, is_apart=True)
        scoped = Q(pk__lt=0)
        for scope in actor.scopes:
            scoped |= Q(mailbox=scope.mailbox) if scope.mailbox is not None else Q(connection=scope.connection)
        return self.filter(scoped | Exists(theirs))
