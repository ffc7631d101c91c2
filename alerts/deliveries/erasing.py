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
    about_message = Delivery.objects.filter(message=message)
    about_message.unfinished().update(
        state=Delivery.State.FAILED,
        lease_until=None,
        last_error=ENDED,
        last_attempt_at=Now(),
    )
    of_digests = Delivery.objects.filter(card__in=message.cards.values("digest"))
    of_digests.unfinished().update(request="", answer="")
    stored = Delivery.objects.filter(
        Q(pk__in=about_message.values("pk")) | Q(pk__in=of_digests.values("pk")),
        erased_at=None,
    )
    erased = stored.exclude(state__in=("due", "sending")).update(
        request="", answer="", erased_at=Now()
    )
    # Otherwise the next edit of a digest would show its subject again.
    message.cards.exclude(digest=None).update(digest=None, removed=True)
    return erased
