"""What people do with messages besides deciding them: claims, snoozes, comments,
questions, opened parts and saved views; and the steps of review plans that were done,
such as reminders about late messages.
"""

from typing import Self, TypeVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Now

from audit.models import Saved
from mirror.models import Message
from mirror.models.messages import OfMessagesQuerySet
from mirror.states import BACK_BEFORE, CLAIM_LASTS, MessageState
from people.models import Person

_Model = TypeVar("_Model", bound=models.Model)


class PersonalQuerySet(OfMessagesQuerySet[_Model]):
    """Reads of rows that tie one person to a message."""

    def of_person(self, person: int) -> Self:
        """Rows of one person: their claims and snoozes, and the questions to them
        (uses the index question_once).
        """
        return self.filter(person=person)

    def on(self, message: Message) -> Self:
        """Rows about this message."""
        return self.filter(message=message)

    def under_lock(self) -> Self:
        """Lock the rows, and read the related rows that ledger entries need. Rows that
        another transaction has locked are skipped.
        """
        rows = self.select_related("person", "message", "message__mailbox")
        return rows.select_for_update(of=("self",), skip_locked=True)


class Personal(models.Model):
    """A row that ties one person to a message."""

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="%(class)ss"
    )
    person = models.ForeignKey(
        Person, on_delete=models.CASCADE, related_name="%(class)ss"
    )

    class Meta:
        abstract = True


# Claims that were assigned, or whose holder recently saw the message.
_LASTING = Q(is_assigned=True) | Q(seen_at__gt=Now() - CLAIM_LASTS)
_LIVE = _LASTING & Q(person__is_active=True, message__state=MessageState.HELD)


class ClaimQuerySet(PersonalQuerySet["Claim"]):
    """Reads of claims. The database's clock decides whether a claim has expired."""

    def live(self) -> Self:
        """Claims that have not expired, by active people, on held messages."""
        return self.filter(_LIVE)

    def lasting(self) -> Self:
        """Claims that were assigned, or whose holder recently saw the message."""
        return self.filter(_LASTING)

    def over(self) -> Self:
        """Claims that have ended but are not deleted yet: expired, by a deactivated
        person, or on a message that is no longer held.
        """
        return self.exclude(_LIVE)


class Claim(models.Model):
    """A note that a person works on a message. Others can still decide it."""

    message = models.OneToOneField(
        Message, on_delete=models.CASCADE, related_name="claim"
    )
    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="claims")
    claimed_at = models.DateTimeField(db_default=Now())
    # When its holder last had the message on screen. The claim expires some time after.
    seen_at = models.DateTimeField(db_default=Now())
    # Whether somebody else or the review plan chose the holder. Such a claim does not
    # expire: it lasts until the message is decided, released or assigned to another.
    is_assigned = models.BooleanField(default=False, db_default=False)

    objects = ClaimQuerySet.as_manager()

    @property
    def words(self) -> str:
        """The words before the holder's name."""
        return "Assigned to" if self.is_assigned else "Claimed by"


# In the last hour before it expires a message is not hidden.
_CAN_BE_HIDDEN = Q(message__expires_at=None) | Q(
    message__expires_at__gt=Now() + BACK_BEFORE
)


class SnoozeQuerySet(PersonalQuerySet["Snooze"]):
    """Reads of what people have snoozed."""

    def running(self) -> Self:
        """Snoozes whose end is in the future, by the database's clock."""
        return self.filter(until__gt=Now())

    def in_force(self) -> Self:
        """Snoozes that still hide their message, by the database's clock. In the last
        hour before it expires a message is not hidden.
        """
        return self.running().filter(_CAN_BE_HIDDEN)

    def over(self) -> Self:
        """Snoozes that can be deleted: past their end, in the last hour before the
        message expires, or on a message that is no longer held.
        """
        return self.exclude(
            _CAN_BE_HIDDEN, until__gt=Now(), message__state=MessageState.HELD
        )


class Snooze(Personal):
    """Hides a message from one person's Waiting tab for a time. Others still see it."""

    until = models.DateTimeField()

    objects = SnoozeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["message", "person"], name="snooze_once")
        ]
        indexes = [models.Index(fields=["person", "until"], name="snooze_of_person")]


class Comment(models.Model):
    """A comment on a message, for colleagues. It is never sent anywhere and never
    changed.
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

    class Meta:
        indexes = [
            models.Index(fields=["message", "created_at"], name="comment_of_message")
        ]


class Passage(models.Model):
    """A hash of words that a person wrote at the desk, or of a recipient or link that
    they added, and when (approvals.authorship).
    """

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="+")
    digest = models.BigIntegerField()
    written_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["digest", "person"], name="passage_of_person_once"
            )
        ]
        indexes = [models.Index(fields=["written_at"], name="passage_written")]


class QuestionQuerySet(PersonalQuerySet["Question"]):
    """Reads of the mentions that nobody has answered yet."""

    def with_comments(self) -> Self:
        """With the comment, and the person who wrote it."""
        return self.select_related("comment__person")

    def past(self) -> Self:
        """Questions about messages that are not held any more."""
        return self.exclude(message__state=MessageState.HELD)


class Question(Personal):
    """A mention of a person in a comment, which awaits their answer. The row is deleted
    when they answer.
    """

    comment = models.ForeignKey(
        Comment, on_delete=models.CASCADE, related_name="questions"
    )

    objects = QuestionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["person", "message"], name="question_once")
        ]


class OpenedPart(models.Model):
    """A part of a message that a person opened: a file, the links, or the thread as it
    was then.
    """

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="opened_parts"
    )
    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="+")
    part = models.CharField(max_length=100)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["message", "person", "part"], name="part_once"
            )
        ]


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


class StepDone(models.Model):
    """A step of the review plan that was done for a message, or skipped because a later
    step is due. The row keeps a step from being done twice.
    """

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="steps_done"
    )
    # The step in words, with the deadline if that was extended.
    step = models.CharField(max_length=120)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["message", "step"], name="step_done_once")
        ]


class Reminder(Personal):
    """A reminder to a person about a message that is late or nearly so. The message is
    in their Mine tab until it is decided.
    """

    # When the newest of their reminders about it came.
    reminded_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["person", "message"], name="reminder_once")
        ]
