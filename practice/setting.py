"""Switches practice messages on, which always takes two admins, and off, which one
admin can do alone.
"""

import random

from django.db.models import Max
from django.urls import reverse

from audit.recording import record
from common.actors import Actor
from common.postgres import atomic_with_retry, clock
from mirror.errors import ActNotAllowed
from mirror.models import Message
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from practice.ending import end_over
from practice.models import PracticeMessage, PracticeSetting
from practice.planting import begin_round

# One practice message is planted for at least and at most this many held messages.
LEAST = 2
MOST = 10_000


@atomic_with_retry
@second_admin("Practice messages", always=True)
def switch_practice_on(*, actor: Actor, one_in: int) -> CanWait[PracticeSetting]:
    """Switch practice messages on, with one for every `one_in` held messages, and
    return the setting.

    This always takes two admins, whatever the organisation requires of other changes.
    Raises ActNotAllowed if the actor is no admin of everything, or `one_in` is not
    between 2 and 10,000.
    """
    _check_may_set(actor)
    if not LEAST <= one_in <= MOST:
        raise ActNotAllowed(f"Choose one in {LEAST} to {MOST:,} messages.")
    before = PracticeSetting.objects.first()
    setting = PracticeSetting(pk=1, one_in=one_in)
    yield lambda: ChangeInWords(
        title="Practice messages",
        before=str(before or "Off"),
        after=f"{setting}; the reviewers are told",
        page=reverse("practice"),
    )
    setting.counted_to = Message.objects.aggregate(newest=Max("pk"))["newest"] or 0
    setting.asked_by_id = int(actor.id)
    setting.accepted_by_id = int(actor.second)
    setting.since = clock()
    begin_round(setting, random.SystemRandom())
    setting.save()
    details = {"before": str(before or "Off"), "after": str(setting)}
    record("practice.switched_on", actor=actor, details=details)
    return setting


@atomic_with_retry
def switch_practice_off(*, actor: Actor) -> bool:
    """Switch practice messages off, and end those that wait. Return False if they were
    off already.

    Raises ActNotAllowed if the actor is no admin of everything.
    """
    _check_may_set(actor)
    row = PracticeSetting.objects.select_for_update(of=("self",)).first()
    if row is None:
        return False
    row.delete()
    details = {"signed_by": row.signatories, "before": str(row), "after": "Off"}
    record("practice.switched_off", actor=actor, details=details)
    end_over(list(PracticeMessage.objects.waiting().values_list("pk", flat=True)))
    return True


def _check_may_set(actor: Actor) -> None:
    if not actor.is_admin_of_all:
        raise ActNotAllowed("Only an admin of everything can switch practice messages.")
