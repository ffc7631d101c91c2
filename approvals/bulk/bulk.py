"""Decides many messages at once, each by itself: what fails is named and stops no other.

Only what stood on one sheet and was ticked there is decided, in the version that stood there. What is of high risk, or
has letters after it in its thread, is not approved so: `give_verdict` asks what only its own page can answer.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import DatabaseError, transaction

from approvals.bulk.sheets import MAX_ITEMS, OnSheet, Sheet
from approvals.decisions.decide import Together, give_verdict, undo_decision
from approvals.decisions.refusals import note_refusal
from approvals.decisions.unread_parts import links_key
from approvals.errors import VerdictNotAllowed
from approvals.models import Decision, OpenedPart
from approvals.querysets.messages import desk_messages
from audit.recording import record
from audit.trail import recorded_versions
from mirror.errors import DeskError
from mirror.models import Message
from mirror.states import Outcome
from people.actors import Actor, Role

# So much longer can each be undone, for each there is: who decides fifty reads fifty outcomes.
READING = timedelta(milliseconds=100)
# Undoing as many is over by then, also on a busy machine.
UNDOING = timedelta(seconds=30)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ended:
    """What became of one of them: its decision or, without one, the sentence that says why."""

    message: UUID
    decision: Decision | None = None
    sentence: str = ""


def decide_together(
    *, sheet: Sheet, ticked: Sequence[OnSheet], actor: Actor, outcome: str, reason: str, now: datetime
) -> list[Ended]:
    """Give the same verdict on each message that was ticked on a sheet, each in a transaction of its own.

    Returns what became of each, in the sheet's order. Raises VerdictNotAllowed for more than a sheet holds.
    """
    if len(ticked) > MAX_ITEMS:
        raise VerdictNotAllowed(f"At most {MAX_ITEMS} messages are decided together.")
    together = Together(sheet.id, extra=READING * len(ticked))
    visible = desk_messages().visible_to(actor).for_list().filter(public_id__in=[one.message for one in ticked])
    known = {message.public_id: message for message in visible}
    ended = []
    for one in ticked:
        message = known.get(one.message)
        try:
            if outcome == Outcome.APPROVE and not one.can_approve:
                raise VerdictNotAllowed(one.why)
            given = give_verdict(
                message=one.message,
                actor=actor,
                outcome=outcome,
                fingerprint=one.fingerprint,
                reason=reason,
                now=now,
                together=together,
            )
            ended.append(Ended(one.message, given.decision))
        except DeskError as error:
            if message is not None:
                note_refusal(message, actor=actor, outcome=outcome, sentence=error.sentence)
            ended.append(Ended(one.message, sentence=error.sentence))
        except DatabaseError:
            log.exception("a verdict of a sheet could not be written", extra={"message_id": str(one.message)})
            ended.append(Ended(one.message, sentence="The desk could not write this down. Open it to see how it is."))
    _note_decided(sheet, ended, actor=actor, outcome=outcome, reason=reason)
    return ended


def _note_decided(sheet: Sheet, ended: Sequence[Ended], *, actor: Actor, outcome: str, reason: str) -> None:
    done = sum(one.decision is not None for one in ended)
    details = {
        "sheet": sheet.id,
        "outcome": outcome,
        "reason": reason,
        "on_sheet": str(len(sheet.items)),
        "decided": str(done),
        "not_decided": str(len(ended) - done),
    }
    with transaction.atomic():
        record("bulk.decided", actor=actor, details=details)


def undo_together(*, messages: Iterable[UUID], actor: Actor, now: datetime) -> list[Ended]:
    """Take back what has not left of these, each by itself. What is too late is named.

    From the first moment none of them leaves: what is undone last must not be lost to the time that the others take.
    """
    wanted = list(messages)
    ours = Message.objects.visible_to(actor.acting_as(Role.REVIEWER)).filter(public_id__in=wanted)
    Decision.objects.on(ours).put_off(UNDOING)
    ended = []
    for message in wanted:
        try:
            ended.append(Ended(message, undo_decision(message=message, actor=actor, now=now)))
        except DeskError as error:
            ended.append(Ended(message, sentence=error.sentence))
    return ended


@transaction.atomic
def note_on_sheet(messages: Sequence[Message], *, sheet: Sheet, actor: Actor, with_links: Iterable[int]) -> None:
    """Note that the actor had these on screen together, with all links of those whose keys are given.

    Each once a person and version, as when it is opened by itself.
    """
    told = recorded_versions(messages=[one.public_id for one in messages], action="message.opened", actor_id=actor.id)
    for one in messages:
        version = one.revision.fingerprint if one.revision else ""
        if (one.public_id, version) not in told:
            record(
                "message.opened",
                actor=actor,
                connection=one.connection_id,
                message=one.public_id,
                fingerprint=version,
                details={"sheet": sheet.id},
                words=one.ledger_words(),
            )
    shown = set(with_links)
    parts = [
        OpenedPart(message=one, person_id=int(actor.id), part=links_key(one)) for one in messages if one.pk in shown
    ]
    OpenedPart.objects.bulk_create(parts, ignore_conflicts=True)
