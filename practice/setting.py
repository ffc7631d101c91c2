"""Switches practice messages on, which always takes two admins, and off, which one
admin does with one press.
"""

import random

from django.db.models import Max
from django.db.models.functions import Now
from django.urls import reverse

from audit.recording import changed, record
from common.actors import Actor, Role
from common.postgres import atomic_with_retry, clock
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox, Message, may_set
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from practice.ending import end_over
from practice.models import PracticeMessage, PracticeNotice, PracticeSetting
from practice.planting import begin_round

LEAST = 2
MOST = 10_000


def may_see(actor: Actor) -> bool:
    """Whether the actor may see where practice messages are switched on, and what was
    planted: admins and auditors.
    """
    return actor.has(Role.ADMIN) or actor.has(Role.AUDITOR)


@atomic_with_retry
@second_admin("Practice messages", always=True)
def switch_practice_on(
    *, actor: Actor, mailbox: Mailbox | None, one_in: int
) -> CanWait[PracticeSetting]:
    """Plant one practice message among so many held ones, in a mailbox or in all;
    return the setting.

    It always takes two admins, whatever the organisation has set. Raises ActNotAllowed
    for anybody but an admin there, and for other numbers than those from 2 to 10,000.
    """
    if mailbox is not None and not mailbox.is_active:
        raise ActNotAllowed("This mailbox is not there any more.")
    if not may_set(actor, mailbox):
        raise ActNotAllowed(
            "Only an admin of all that it concerns can switch practice messages on."
        )
    if not LEAST <= one_in <= MOST:
        raise ActNotAllowed(f"Choose one in {LEAST} to {MOST:,} messages.")
    before = PracticeSetting.objects.filter(mailbox=mailbox).first()
    connection = mailbox.connection_id if mailbox else None
    yield lambda: ChangeInWords(
        title=f"Practice messages in {mailbox or 'all mailboxes'}",
        before=_words(before),
        after=f"One in {one_in:,} messages; the reviewers are told",
        page=reverse("practice"),
        connection=connection,
        mailbox=mailbox.pk if mailbox else None,
    )
    newest = Message.objects.aggregate(newest=Max("pk"))["newest"] or 0
    setting = PracticeSetting(
        pk=before.pk if before else None,
        mailbox=mailbox,
        one_in=one_in,
        counted_to=newest,
        asked_by_id=int(actor.id),
        accepted_by_id=int(actor.second),
        since=clock(),
    )
    begin_round(setting, random.SystemRandom())
    setting.save()
    words = changed(before=_words(before), after=_words(setting))
    _record("practice.switched_on", actor, mailbox, words)
    return setting


@atomic_with_retry
def switch_practice_off(*, actor: Actor, mailbox: Mailbox | None) -> bool:
    """Plant no more in a mailbox, or by the setting for all; what waits there ends at
    once. Whether that changed.

    Raises ActNotAllowed for anybody but an admin there.
    """
    if not may_set(actor, mailbox):
        raise ActNotAllowed(
            "Only an admin of all that it concerns can switch practice messages off."
        )
    settings = PracticeSetting.objects.select_for_update(of=("self",))
    row = settings.filter(mailbox=mailbox).first()
    if row is None:
        return False
    row.delete()
    words = changed(before=_words(row), after=_words(None))
    _record(
        "practice.switched_off",
        actor,
        mailbox,
        {"signed_by": row.signatories, **words},
    )
    waiting = PracticeMessage.objects.waiting()
    if mailbox is not None:
        waiting = waiting.filter(message__mailbox=mailbox)
    else:
        others = PracticeSetting.objects.exclude(mailbox=None)
        waiting = waiting.exclude(message__mailbox__in=others.values("mailbox"))
    end_over(list(waiting.values_list("pk", flat=True)))
    return True


@atomic_with_retry
def confirm(*, actor: Actor) -> None:
    """Store that the person knows of practice messages, so that the line about them
    goes away.
    """
    PracticeNotice.objects.update_or_create(
        person_id=int(actor.id), defaults={"confirmed_at": Now()}
    )
    record("practice.confirmed", actor=actor)


def _record(
    action: str, actor: Actor, mailbox: Mailbox | None, details: dict[str, str]
) -> None:
    record(
        action,
        actor=actor,
        connection=mailbox.connection_id if mailbox else None,
        details={"mailbox": str(mailbox or "all mailboxes")} | details,
    )


def _words(row: PracticeSetting | None) -> str:
    return f"One in {row.one_in:,} messages" if row else "Off"
