"""Removes what deliveries store of one message, when somebody asks for its erasure.
Posts in a channel stay there.
"""

from django.db.models import Q
from django.db.models.functions import Now

from alerts.models import Delivery
from mirror.models import Message

ENDED = "The message was erased before this was sent."


def erase_bodies(message: Message) -> int:
    """Remove what went out about a locked message and what came back, in the caller's
    transaction; return of how many.

    Waiting deliveries are given up. A waiting digest stays: it is about other messages
    too, and stores no text.
    """
    mine = Delivery.objects.filter(message=message)
    mine.unfinished().update(
        state=Delivery.State.FAILED,
        lease_until=None,
        last_error=ENDED,
        last_attempt_at=Now(),
    )
    on_digests = Delivery.objects.filter(digest__in=message.cards.values("digest"))
    on_digests.unfinished().update(request="", answer="")
    stored = Delivery.objects.filter(
        Q(pk__in=mine.values("pk")) | Q(pk__in=on_digests.values("pk")), erased_at=None
    )
    return stored.exclude(state__in=("due", "sending")).update(
        request="", answer="", erased_at=Now()
    )
