"""Notes for the desk which mail waits because the mail server does not take it, and
what may not have been sent because its answer was lost.
"""

from datetime import timedelta

from django.core.cache import cache
from django.db.models import Count, Max, Min
from django.db.models.functions import Greatest, Now

from common.grace import NOT_TAKEN_AFTER
from common.waiting_mail import NOTED_FOR, WAITING, WaitingMail
from gateway.models import Email


def note_waiting() -> int:
    """Note for each cause what has waited for a while. Returns the number of causes."""
    # PostgreSQL's greatest of several times ignores those that are null.
    waiting = Email.objects.waiting().annotate(
        since_when=Greatest("created_at", "decided_at", "send_at")
    )
    causes = (
        waiting.filter(since_when__lt=Now() - NOT_TAKEN_AFTER)
        .values("cause")
        .annotate(
            number=Count("pk"),
            since=Min("since_when"),
            next_try=Min("due_at"),
            oldest=Min("pk"),
            answer=Max("last_error"),
        )
    )
    found = [WaitingMail(**row) for row in causes]
    unsure = Email.objects.of_unknown_fate(timedelta(days=1)).aggregate(
        number=Count("pk"),
        since=Min("data_attempted_at"),
        next_try=Min("data_attempted_at"),
        oldest=Min("pk"),
        answer=Max("last_error"),
    )
    if unsure["number"]:
        found.append(WaitingMail("unknown", **unsure))
    cache.set(WAITING, found, NOTED_FOR)
    return len(found)
