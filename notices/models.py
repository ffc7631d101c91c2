"""The tables of notices: one row tells one person of one thing, because of one cause."""

from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from common.actors import Actor
from mirror.models import Message
from mirror.states import LIVE_DECISIONS, MessageState
from people.models import PendingChange, Person


class Cause(models.TextChoices):
    """Why a person is told."""

    ASSIGNED = "assigned", "A message is assigned to you"
    REMINDED = "reminded", "A review plan reminds you of a message"
    MENTIONED = "mentioned", "Somebody mentions you in a comment"
    APPROVAL = "approval", "A message needs an approval of your group"
    RETURNED = "returned", "What you decided came back"
    CHANGE = "change", "A change waits for a second admin"
    ACCOUNT = "account", "Something about your account changed"
    SUMMARY = "summary", "A summary each morning of what waits"


# Causes that last while their message waits for a decision.
WAITING = (Cause.ASSIGNED, Cause.REMINDED, Cause.MENTIONED, Cause.APPROVAL)
# Causes for which a message's card in a chat can mention the person.
NAMED_IN_CHAT = (Cause.ASSIGNED, Cause.REMINDED, Cause.MENTIONED)


class NoticeQuerySet(models.QuerySet["Notice"]):
    def open(self) -> Self:
        """Notices that have not ended."""
        return self.filter(ended_at=None)

    def end(self) -> int:
        """End those that have not ended; return how many."""
        return self.open().update(ended_at=Now())

    def lasting(self, actor: Actor) -> Self:
        """The actor's notices whose cause lasts, and whose subject they may see."""
        has_message = Q(message__in=Message.objects.visible_to(actor))
        is_decided = Q(message__decisions__state__in=LIVE_DECISIONS)
        waits = Q(message__state=MessageState.HELD) & ~is_decided
        has_change = Q(change__in=PendingChange.objects.for_admin(actor))
        return self.open().filter(
            Q(message=None) | (has_message & (waits | ~Q(cause__in=WAITING))),
            Q(change=None) | has_change,
            person=actor.person_id,
            person__is_active=True,
        )

    def unread(self, actor: Actor) -> Self:
        """Those of the actor's lasting notices that they have not read."""
        return self.lasting(actor).filter(read_at=None)

    def for_list(self, actor: Actor) -> Self:
        """The actor's lasting notices with what a list shows, newest first."""
        return (
            self.lasting(actor)
            .select_related("by", "change", "message__mailbox", "message__review")
            .order_by("-pk")
        )


class Notice(models.Model):
    """Something that a person is told, until they read it or its cause ends."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="notices")
    cause = models.CharField(max_length=10, choices=Cause)
    # What it is about. Without both it is about the person's account, or all that waits.
    message = models.ForeignKey(
        Message, null=True, on_delete=models.CASCADE, related_name="notices"
    )
    change = models.ForeignKey(PendingChange, null=True, on_delete=models.CASCADE)
    # The act that caused it, as in the ledger, and the person who did it.
    action = models.CharField(max_length=40)
    by = models.ForeignKey(
        Person, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    # Whether the list and the bell show it: the person chose this for its cause.
    on_desk = models.BooleanField(default=True, db_default=True)
    made_at = models.DateTimeField(db_default=Now())
    read_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    objects = NoticeQuerySet.as_manager()

    class Meta:
        constraints = [
            # Of one thing a person is told once, however often it is planned.
            models.UniqueConstraint(
                fields=["person", "cause", "message", "change"],
                nulls_distinct=False,
                condition=Q(ended_at=None) & ~Q(cause=Cause.ACCOUNT),
                name="notice_once",
            )
        ]
        indexes = [
            # The list of one person.
            models.Index(
                fields=["person", "id"],
                condition=Q(ended_at=None),
                name="notice_of_person",
            )
        ]


def unread_count(actor: Actor) -> int:
    """Return how many notices of the list the actor has not read."""
    return Notice.objects.unread(actor).filter(on_desk=True).count()


def _on_desk() -> list[str]:
    return list(Cause)


def _mailed() -> list[str]:
    # What waits for a person by name, and the summary.
    return [Cause.ASSIGNED, Cause.REMINDED, Cause.MENTIONED, Cause.SUMMARY]


def _pushed() -> list[str]:
    # What waits, and what came back; only to browsers that the person switched on.
    return [*WAITING, Cause.RETURNED]


def _in_chat() -> list[str]:
    return list(NAMED_IN_CHAT)


class Preferences(models.Model):
    """What a person wants to be told, and how. Without a row, the defaults."""

    person = models.OneToOneField(Person, on_delete=models.CASCADE, primary_key=True)
    # The causes that the desk's list shows and its bell counts. What happens to the
    # account always is.
    desk = models.JSONField(default=_on_desk)
    # The causes that are mailed. What happens to the account always is.
    mail = models.JSONField(default=_mailed)
    # The causes that are pushed to the browsers of the person.
    push = models.JSONField(default=_pushed)
    # The causes for which cards in chats mention the person's linked account.
    chat = models.JSONField(default=_in_chat)
    # After how many minutes, if the notice still waits then.
    mail_after = models.PositiveSmallIntegerField(default=5)
    # By the person's own clock: until the end nothing is mailed.
    quiet_from = models.TimeField(null=True)
    quiet_until = models.TimeField(null=True)
    # Who is told in place of the person while they are out of office.
    stand_in = models.ForeignKey(
        Person, null=True, on_delete=models.SET_NULL, related_name="+"
    )
