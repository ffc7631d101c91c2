"""Ends practice messages: by what somebody decided, or quietly where nobody did; and
answers what the desk asks of them (`approvals.local_messages`). Nothing is ever carried
out.
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
    """Practice messages, as the desk knows them."""

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
        """End it by what a person decided; tell at once what it was, without blame.

        An approval let the fault pass; a rejection, a request for changes or an edit
        stopped it.
        """
        found = PracticeMessage.objects.select_for_update(of=("self",)).get(
            message=message
        )
        is_caught = outcome != Outcome.APPROVE
        outcomes = PracticeMessage.Outcome
        found.outcome = outcomes.CAUGHT if is_caught else outcomes.PASSED
        found.person_id = int(actor.id)
        details = {
            "verdict": outcome,
            "reason": reason,
            "seconds_shown": "" if seconds_shown is None else str(seconds_shown),
        }
        _end(found, message, actor, details)
        if is_caught:
            return f"It was a practice message: well spotted. {found.explanation}"
        return (
            "This was a practice message, and nothing was sent. It is easily missed: "
            f"{found.explanation}"
        )

    def end_late(self, message: Message) -> None:
        """Let the next sweep end it."""
        PracticeMessage.objects.filter(message=message).update(ends_at=Now())

    def note(self, message: Message, actor: Actor) -> str:
        """Say what was wrong with it, and how it ended."""
        found = PracticeMessage.objects.select_related("person").get(message=message)
        return render_to_string(
            "practice/_over.html", {"practice": found, "actor": actor}
        )

    def end_copies(self, message: Message) -> list[Message]:
        """End what was planted as a copy of this message."""
        copies = list(message.practice_copies.select_related("message"))
        for copy in copies:
            end_quietly(key=copy.pk)
        return [copy.message for copy in copies]

    def figure(
        self, messages: MessageQuerySet, *, since: datetime, until: datetime
    ) -> tuple[str, str]:
        """Return how many were stopped, of those that people decided."""
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
    """End those that nobody decided in time, or whose mailbox is gone; return how many."""
    ended = 0
    for key in keys:
        try:
            ended += end_quietly(key=key)
        except Exception:
            log.exception("practice message not ended", extra={"practice": key})
    return ended


@transaction.atomic
def end_quietly(*, key: int) -> bool:
    """End one that nobody decided; False where somebody did meanwhile. It locks the
    message first, as verdicts do.
    """
    message = Message.objects.filter(practice=key).select_related("connection").first()
    locked = message and store.lock_current(message)
    if locked is None or locked.state != MessageState.HELD:
        return False
    found = PracticeMessage.objects.select_for_update(of=("self",)).get(pk=key)
    found.outcome = PracticeMessage.Outcome.UNANSWERED
    _end(found, locked, ACTOR, {})
    return True


def _end(
    found: PracticeMessage, message: Message, actor: Actor, details: dict[str, str]
) -> None:
    """Store and record how it ended. On the message it is recorded as of mail that its
    sender cancelled: pages, cards and programs learn it from that entry. Who decided it
    stays in the other one.
    """
    found.ended_at = clock()
    found.save()
    store.move(message, event=MessageEvent.CANCELLED, now=found.ended_at)
    Message.objects.filter(pk=message.pk).update(seen_at=Now())
    Review.objects.filter(pk=message.pk).update(watch_at=None, late_since=None)
    details |= details_of(found) | {"outcome": found.get_outcome_display()}
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


def details_of(found: PracticeMessage) -> dict[str, str]:
    """Return what entries of the ledger say about a practice message.

    They are no entries of the message, so that no trail shows it before it is over, and
    repeat nothing of its text.
    """
    message = found.message
    return {
        "practice": str(message.public_id),
        "mailbox": str(message.mailbox or ""),
        "fault": found.fault,
        "signed_by": found.signed_by,
    }
