"""Removes the stored requests and answers of deliveries about one message, when an
admin has the message erased. Posts that are in a channel already stay there.
"""

from django.db.models import Q
from django.db.models.functions import Now

from alerts.models import Delivery
from mirror.models import Message

ENDED = "The message was erased before this was sent."


def erase_bodies(message: Message) -> int:
    """Remove the requests and answers of all deliveries about a locked message, in the
    caller's transaction; return from how many they were removed.

    Deliveries that are still due are given up. The due delivery of a digest stays,
    because it is about other messages too; its last request and answer are removed.
    """
    # Which messages an earlier digest showed is not known any more.
    is_earlier = Q(
        card__about__startswith="digest/",
        card__removed=True,
        destination__in=message.cards.values("destination"),
    )
    of_digests = Q(card__in=message.cards.values("digest")) | is_earlier
    unfinished = Delivery.objects.unfinished()
    unfinished.filter(message=message).update(
        state=Delivery.State.FAILED,
        lease_until=None,
        last_error=ENDED,
        last_attempt_at=Now(),
    )
    unfinished.filter(of_digests).update(request="", answer="")
    ended = Delivery.objects.filter(state__in=("delivered", "failed"), erased_at=None)
    erased = ended.filter(Q(message=message) | of_digests).update(
        request="", answer="", erased_at=Now()
    )
    # Otherwise the next edit of a digest would show its subject again.
    message.cards.exclude(digest=None).update(digest=None, removed=True)
    return erased
