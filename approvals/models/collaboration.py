"""Who works on which message: claims, snoozes, comments, questions, opened parts,
saved views, and what was done about messages that are late.
"""

from collections.abc import Iterable
from typing import Self, TypeVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Now

from audit.models import Saved
from mirror.models import Message
from mirror.models.messages import OfMessagesQuerySet
from mirror.states import MessageState
from mirror.terms import BACK_BEFORE, CLAIM_LASTS
from people.models import Person

_Model = TypeVar("_Model", bound=models.Model)


class PersonalQuerySet(OfMessagesQuerySet[_Model]):
    """Reads of rows that tie one person to a message."""

    def of_person(self, person: int) -> Self:
        """Those of one person; of questions, those that ask them (relies on
        question_once).
        """
        return self.filter(person=person)

    def on(self, message: Message) -> Self:
        """Those on this message."""
        return self.filter(message=message)

    def among(self, messages: Iterable[int]) -> Self:
        """Those on messages of a list."""
        return self.filter(message__in=list(messages))

    def under_lock(self) -> Self:
        """Locked, with the rows that ledger entries need; rows that another transaction
        has locked are skipped.
        """
        rows = self.select_related("person", "message", "message__mailbox")
        return rows.select_for_update(of=("self",), skip_locked=True)


class ClaimQuerySet(PersonalQuerySet["Claim"]):
    """Reads of claims; how long one lasts is judged by the database's clock."""

    def live(self) -> Self:
        """Those that last, of active people, on held messages."""
        return self.lasting().filter(
            person__is_active=True, message__state=MessageState.HELD
        )

    def lasting(self) -> Self:
        """Those that were assigned, or whose holder had the message on screen recently."""
        return self.filter(Q(is_assigned=True) | Q(seen_at__gt=Now() - CLAIM_LASTS))

    def over(self) -> Self:
        """Those that ended but still have a row: idle, of a deactivated person, or on a
        message no longer held.
        """
        idle = Q(seen_at__lte=Now() - CLAIM_LASTS, is_assigned=False)
        return self.filter(
            idle | Q(person__is_active=False) | ~Q(message__state=MessageState.HELD)
        )


class Claim(models.Model):
    """Who works on a message. It informs others and prevents nobody from deciding."""

    message = models.OneToOneField(
        Message, on_delete=models.CASCADE, related_name="claim"
    )
    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="claims")
    claimed_at = models.DateTimeField(db_default=Now())
    # When its holder last had the message on screen; an idle claim expires.
    seen_at = models.DateTimeField(db_default=Now())
    # By somebody else, or in turn; it then lasts until it is decided, released or
    # assigned to somebody else.
    is_assigned = models.BooleanField(default=False, db_default=False)

    objects = ClaimQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.person} has it"

    @property
    def words(self) -> str:
        """How the holder got it, before their name."""
        return "Assigned to" if self.is_assigned else "Claimed by"


class SnoozeQuerySet(PersonalQuerySet["Snooze"]):
    """Reads of what people have snoozed."""

    def running(self) -> Self:
        """Those whose time has not come, by the database's clock."""
        return self.filter(until__gt=Now())

    def in_force(self) -> Self:
        """Those that still hide their message, by the database's clock; never in its
        last hour.
        """
        far = Q(message__expires_at=None) | Q(
            message__expires_at__gt=Now() + BACK_BEFORE
        )
        return self.running().filter(far)

    def over(self) -> Self:
        """Those whose time has come, or that no longer hide a held message from
        anybody.
        """
        soon = Q(message__expires_at__lte=Now() + BACK_BEFORE)
        return self.filter(
            Q(until__lte=Now()) | soon | ~Q(message__state=MessageState.HELD)
        )


class Snooze(models.Model):
    """Hides a message from one person's list for a while; everybody else still sees it."""

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="snoozes"
    )
    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="snoozes")
    until = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now())

    objects = SnoozeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["message", "person"], name="snooze_once")
        ]
        indexes = [models.Index(fields=["person", "until"], name="snooze_of_person")]

    def __str__(self) -> str:
        return f"until {self.until:%H:%M}"


class CommentQuerySet(models.QuerySet["Comment"]):
    """Reads of comments."""

    def newest_first(self) -> Self:
        """With who wrote them (relies on comment_of_message)."""
        return self.select_related("person").order_by("-created_at", "-pk")


class Comment(models.Model):
    """A comment to colleagues on a message. It never leaves the desk, and never
    changes.
    """

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="comments"
    )
    person = models.ForeignKey(
        Person, on_delete=models.PROTECT, related_name="comments"
    )
    text = models.TextField()
    mentions = models.ManyToManyField(Person, related_name="mentioned_in")
    created_at = models.DateTimeField(db_default=Now())

    objects = CommentQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["message", "created_at"], name="comment_of_message")
        ]

    def __str__(self) -> str:
        return f"{self.person}: {self.text[:40]}"


class QuestionQuerySet(PersonalQuerySet["Question"]):
    """Reads of the mentions that nobody has answered yet."""

    def with_comments(self) -> Self:
        """With who asks."""
        return self.select_related("comment__person")

    def past(self) -> Self:
        """Those on messages that are not held any more."""
        return self.exclude(message__state=MessageState.HELD)


class Question(models.Model):
    """A mention that awaits the person's answer. Answered ones are deleted."""

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="questions"
    )
    person = models.ForeignKey(
        Person, on_delete=models.CASCADE, related_name="questions"
    )
    comment = models.ForeignKey(
        Comment, on_delete=models.CASCADE, related_name="questions"
    )

    objects = QuestionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["person", "message"], name="question_once")
        ]

    def __str__(self) -> str:
        return f"{self.person} is asked"


class OpenedPart(models.Model):
    """One part of a message that one person opened: a file, the thread as it was then,
    the links.
    """

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="opened_parts"
    )
    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="+")
    part = models.CharField(max_length=100)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["message", "person", "part"], name="part_once"
            )
        ]

    def __str__(self) -> str:
        return self.part


class SavedView(Saved):
    """A saved view of the queue: its filters and its order."""

    noun = "view"
    page = "queue"
    saved = "view.saved"
    deleted = "view.deleted"

    person = models.ForeignKey(
        Person, on_delete=models.CASCADE, related_name="saved_views"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "person", Lower("name"), name="saved_view_name_once"
            )
        ]
        indexes = [
            models.Index(
                fields=["shared"], condition=Q(shared=True), name="saved_view_shared"
            )
        ]


class StepDone(models.Model):
    """A step of the review plan that was done for a message, or passed over for a later
    one: once, whoever runs it.
    """

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="steps_done"
    )
    # What the step says, with the deadline where that was extended.
    step = models.CharField(max_length=120)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["message", "step"], name="step_done_once")
        ]

    def __str__(self) -> str:
        return self.step


class Reminder(models.Model):
    """A person was reminded of a message that is late, or nearly; it stands in their
    list until it is decided.
    """

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="reminders"
    )
    person = models.ForeignKey(
        Person, on_delete=models.CASCADE, related_name="reminders"
    )
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["person", "message"], name="reminder_once")
        ]

    def __str__(self) -> str:
        return f"{self.person} is reminded"
