"""Ends practice messages: when a person decides one, or quietly if nobody did in time.
Also answers the desk's questions about them (`approvals.local_messages`). The decision
on a practice message is recorded, but never carried out.
"""

import logging
from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.db.models.functions import Now
from django.template.loader import render_to_string

from approvals.models import Review
from audit.recording import record
from common.actors import Actor, worker
from common.postgres import clock
from mirror import store
from mirror.models import Message
from mirror.models.messages import MessageQuerySet
from mirror.recording import record_about
from mirror.states import MessageEvent, MessageState, Outcome
from practice.models import PracticeMessage

log = logging.getLogger(__name__)

ACTOR = worker("practice")


class PracticeMessages:
    """What the desk asks of practice messages, see `approvals.local_messages`."""

    word = "Practice message"

    def answer(
        self,
        message: Message,
        *,
        actor: Actor,
        outcome: str,
        reason: str,
        seconds_shown: int | None,
    ) -> str:
        """End the practice message that a person decided, and return what to tell this
        person: that it was one, and what its fault was.

        An approval lets the fault pass; a rejection, a request for changes or an edit
        stops it.
        """
        practice_message = PracticeMessage.objects.select_for_update(of=("self",)).get(
            message=message
        )
        is_caught = outcome != Outcome.APPROVE
        outcomes = PracticeMessage.Outcome
        practice_message.outcome = outcomes.CAUGHT if is_caught else outcomes.PASSED
        practice_message.person_id = int(actor.id)
        details = {
            "verdict": outcome,
            "reason": reason,
            "seconds_shown": "" if seconds_shown is None else str(seconds_shown),
        }
        _end(practice_message, message, actor, details)
        if is_caught:
            return f"It was a practice message: well spotted. {practice_message.explanation}"
        return (
            "This was a practice message, and nothing was sent. It is easily missed: "
            f"{practice_message.explanation}"
        )

    def end_late(self, message: Message) -> None:
        """Make the practice message due, so that the next sweep ends it."""
        PracticeMessage.objects.filter(message=message).update(ends_at=Now())

    def note(self, message: Message, actor: Actor) -> str:
        """Return HTML for the page of the message: what was wrong, and how it ended."""
        practice_message = PracticeMessage.objects.select_related("person").get(
            message=message
        )
        return render_to_string(
            "practice/_over.html", {"practice": practice_message, "actor": actor}
        )

    def end_copies(self, message: Message) -> list[Message]:
        """End the practice messages that were copied from this message; return them."""
        copies = list(message.practice_copies.select_related("message"))
        for copy in copies:
            end_quietly(key=copy.pk)
        return [copy.message for copy in copies]

    def figure(
        self, messages: MessageQuerySet, *, since: datetime, until: datetime
    ) -> tuple[str, str]:
        """Return a name and a value for the report, such as "3 of 4": how many
        practice messages people stopped, of those that they decided.
        """
        decided = PracticeMessage.objects.filter(
            message__in=messages.values("pk"),
            person__isnull=False,
            ended_at__gte=since,
            ended_at__lt=until,
        )
        stopped = decided.filter(outcome=PracticeMessage.Outcome.CAUGHT).count()
        number = decided.count()
        return "Practice messages stopped", f"{stopped} of {number}" if number else "–"


def end_over(keys: Iterable[int]) -> int:
    """End the practice messages with these keys that nobody decided yet; return how
    many were ended.
    """
    ended = 0
    for key in keys:
        try:
            ended += end_quietly(key=key)
        except Exception:
            log.exception("practice message not ended", extra={"practice": key})
    return ended


@transaction.atomic
def end_quietly(*, key: int) -> bool:
    """End a practice message that nobody decided; return False if somebody decided it
    meanwhile. Locks the message first, as a verdict does.
    """
    message = Message.objects.filter(practice=key).select_related("connection").first()
    locked = message and store.lock_current(message)
    if locked is None or locked.state != MessageState.HELD:
        return False
    practice_message = PracticeMessage.objects.select_for_update(of=("self",)).get(
        pk=key
    )
    practice_message.outcome = PracticeMessage.Outcome.UNANSWERED
    _end(practice_message, locked, ACTOR, {})
    return True


def _end(
    practice_message: PracticeMessage,
    message: Message,
    actor: Actor,
    details: dict[str, str],
) -> None:
    """Store how the practice message ended, and record it in two entries of the ledger.

    `practice.decided` says who decided. `message.cancelled` is about the message, as if
    its sender had cancelled it: from this entry pages, cards and programs learn that
    the message is over.
    """
    practice_message.ended_at = clock()
    practice_message.save()
    store.move(message, event=MessageEvent.CANCELLED, now=practice_message.ended_at)
    Message.objects.filter(pk=message.pk).update(seen_at=Now())
    Review.objects.filter(pk=message.pk).update(watch_at=None, late_since=None)
    details |= details_of(practice_message) | {
        "outcome": practice_message.get_outcome_display()
    }
    record(
        "practice.decided",
        actor=actor,
        connection=message.connection_id,
        details=details,
    )
    record_about(
        "message.cancelled",
        message,
        actor=ACTOR,
        about=message,
        details={"explanation": "Nothing was sent."},
    )


def details_of(practice_message: PracticeMessage) -> dict[str, str]:
    """Return what entries of the ledger say about a practice message.

    These entries name no message in their own column, so the message's audit trail does
    not reveal that it is one before it is over. They repeat nothing of its text.
    """
    message = practice_message.message
    return {
        "practice": str(message.public_id),
        "mailbox": str(message.mailbox or ""),
        "fault": practice_message.fault,
        "signed_by": practice_message.signed_by,
    }
