"""Switches practice messages on, which always takes two admins, and off, which one
admin does with one press.
"""

import random

from django.db.models import Max, QuerySet
from django.db.models.functions import Now
from django.urls import reverse

from audit.recording import changed, record
from common.actors import Actor, Role
from common.postgres import clock
from common.postgres.retry import atomic_with_retry
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox, Message
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from practice.ending import end_over
from practice.models import PracticeMessage, PracticeNotice, PracticeSetting
from practice.planting import begin_round

LEAST = 2
MOST = 10_000
_OFF = "Off"


def may_see(actor: Actor) -> bool:
    """Whether the actor may see where practice messages are switched on, and what was
    planted: admins and auditors.
    """
    return actor.has(Role.ADMIN) or actor.has(Role.AUDITOR)


def may_set(actor: Actor, mailbox: Mailbox | None) -> bool:
    """Whether the actor is an admin of this mailbox; without one, of everything."""
    return (
        actor.is_admin_of_all if mailbox is None else mailbox.is_administered_by(actor)
    )


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
    details = {
        **_details(mailbox),
        **changed(before=_words(before), after=_words(setting)),
    }
    record(
        "practice.switched_on",
        actor=actor,
        connection=connection,
        details=details,
    )
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
    row = (
        PracticeSetting.objects.select_for_update(of=("self",))
        .filter(mailbox=mailbox)
        .first()
    )
    if row is None:
        return False
    row.delete()
    details = {
        **_details(mailbox),
        "signed_by": row.signatories,
        **changed(before=_words(row), after=_OFF),
    }
    record(
        "practice.switched_off",
        actor=actor,
        connection=mailbox.connection_id if mailbox else None,
        details=details,
    )
    waiting = PracticeMessage.objects.waiting()
    if mailbox is not None:
        waiting = waiting.filter(message__mailbox=mailbox)
    else:
        waiting = waiting.exclude(
            message__mailbox__in=PracticeSetting.objects.exclude(mailbox=None).values(
                "mailbox"
            )
        )
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


def must_be_told(actor: Actor) -> bool:
    """Whether this person has to be told of practice messages; mostly there are none,
    which costs little to ask.
    """
    if not actor.has(Role.REVIEWER) or not PracticeSetting.objects.exists():
        return False
    return PracticeSetting.objects.not_confirmed_by(int(actor.id)).exists()


def settings_for(actor: Actor) -> QuerySet[PracticeSetting]:
    """Return where practice messages are on, as far as the actor sees the mailboxes:
    that for all first.
    """
    seen = Mailbox.objects.visible_to(actor.acting_as(Role.ADMIN, Role.AUDITOR)).values(
        "pk"
    )
    rows = PracticeSetting.objects.filter(
        mailbox__in=seen
    ) | PracticeSetting.objects.filter(mailbox=None)
    named = rows.select_related("mailbox__connection", "asked_by", "accepted_by")
    return named.order_by("mailbox__address", "pk")


def _details(mailbox: Mailbox | None) -> dict[str, str]:
    return {"mailbox": str(mailbox) if mailbox else "all mailboxes"}


def _words(row: PracticeSetting | None) -> str:
    return f"One in {row.one_in:,} messages" if row else _OFF
