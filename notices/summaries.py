"""The daily summary of what waits for a person, and the end of old notices."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from approvals.desk_messages import desk_messages
from common.postgres import clock
from notices.models import Cause, Notice
from notices.preferences import is_on_desk
from notices.signals import made
from people.models import Person

# When the summary comes, by the person's own clock, and until when it may be late.
HOUR = time(8)
LATEST = timedelta(hours=4)
# How long notices stay in the list, and in the table after they have ended.
KEPT = timedelta(days=30)


def summarise() -> int:
    """Make the summary of everybody for whom it is morning and for whom something
    waits; return how many there are.
    """
    return sum(map(_summarise, Person.objects.present().exclude(grants=None)))


@transaction.atomic
def _summarise(person: Person) -> bool:
    now = clock()
    here = now.astimezone(ZoneInfo(person.time_zone))
    morning = datetime.combine(here, HOUR, here.tzinfo)
    # Whoever joined since then saw what waits.
    if person.joined_at >= morning or not morning <= now < morning + LATEST:
        return False
    summaries = Notice.objects.filter(person=person, cause=Cause.SUMMARY)
    waiting = desk_messages().waiting_for(person.actor(surface="worker"))
    if summaries.filter(made_at__gte=morning).exists() or not waiting.exists():
        return False
    summaries.end()
    notice = Notice.objects.create(
        person=person,
        cause=Cause.SUMMARY,
        on_desk=is_on_desk(person, Cause.SUMMARY),
    )
    made.send(sender=Notice, notices=[notice])
    return True


def forget() -> int:
    """Delete notices that were made or ended long ago; return how many."""
    old = Q(made_at__lt=Now() - KEPT) | Q(ended_at__lt=Now() - KEPT)
    return Notice.objects.filter(old).delete()[0]
