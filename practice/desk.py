"""What the desk asks of practice messages (`approvals.local_messages`)."""

from datetime import datetime

from django.db.models.functions import Now
from django.template.loader import render_to_string

from common.actors import Actor
from mirror.models import Message
from mirror.models.messages import MessageQuerySet
from practice import ending
from practice.models import PracticeMessage


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
        """End it by what a person decided; tell at once what it was, without blame."""
        found = ending.answer(
            message,
            actor=actor,
            outcome=outcome,
            reason=reason,
            seconds_shown=seconds_shown,
        )
        if found.outcome == PracticeMessage.Outcome.CAUGHT:
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
            ending.end_quietly(key=copy.pk)
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
