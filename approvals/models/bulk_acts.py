"""Bulk acts: one person rejects, or requests changes to, all messages that matched when
they pressed. A worker decides the messages one after the other.
"""

from collections import Counter
from typing import Self

from django.db import models
from django.db.models import Count, Q
from django.db.models.functions import Now

from approvals.models.decisions import Decision
from common.actors import Actor, Role, Scope
from common.postgres import one_of
from mirror.models import Message
from mirror.states import DecisionState, Outcome
from people.models import Person

# How far a message is whose decision is in one of these states; in all others it is not
# known what became of it.
_STATES: dict[str, str] = {
    DecisionState.RECORDED: "under_way",
    DecisionState.CALLING: "under_way",
    DecisionState.APPLIED: "done",
    DecisionState.REFUSED: "failed",
    DecisionState.SUPERSEDED: "failed",
    DecisionState.UNDONE: "stopped",
}


class BulkActQuerySet(models.QuerySet["BulkAct"]):
    """Reads of bulk acts. Times are compared with the database's clock."""

    def visible_to(self, actor: Actor) -> Self:
        """The actor's own acts; for a reviewer or an admin of everything, all."""
        if {Scope(Role.REVIEWER), Scope(Role.ADMIN)} & {*actor.scopes}:
            return self
        return self.filter(person=actor.person_id)

    def running(self) -> Self:
        """Acts that are not finished (relies on bulk_act_running)."""
        return self.filter(finished_at=None)

    def to_carry_on(self) -> Self:
        """Running acts whose undo window is over."""
        return self.running().filter(begins_at__lte=Now())


class BulkAct(models.Model):
    """One act on many messages: what was asked for, and how far it is. Which messages
    it covers is fixed when it is pressed (`BulkItem`).
    """

    # That of the preview: pressed twice, it is one act.
    public_id = models.UUIDField(unique=True)
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    outcome = models.CharField(max_length=10, choices=Outcome)
    reason = models.TextField()
    # What the messages have in common, as a phrase.
    matched = models.TextField()
    pressed_at = models.DateTimeField(db_default=Now())
    # The end of the undo window, before which no message is decided.
    begins_at = models.DateTimeField()
    # Without `stopped_by` the desk stopped it, because the person may decide no more.
    stopped_at = models.DateTimeField(null=True)
    stopped_by = models.ForeignKey(
        Person, null=True, on_delete=models.PROTECT, related_name="+"
    )
    finished_at = models.DateTimeField(null=True)

    objects = BulkActQuerySet.as_manager()

    class Meta:
        constraints = [
            one_of("outcome", ("reject", "send_back"), "bulk_act_never_approves"),
        ]
        indexes = [
            # For the sweep and the queue.
            models.Index(
                fields=["begins_at"],
                condition=Q(finished_at=None),
                name="bulk_act_running",
            ),
        ]

    def counts(self) -> Counter[str]:
        """Return how many messages are waiting, under_way, done, failed, stopped, and
        unconfirmed.
        """
        rows = self.items.values_list("result", "decision__state").order_by()
        counts = Counter[str]()
        for result, state, number in rows.annotate(number=Count("pk")):
            counts[_STATES.get(state, "unconfirmed") if state else result] += number
        return counts


class BulkItemQuerySet(models.QuerySet["BulkItem"]):
    """Reads of the messages of bulk acts."""

    def waiting(self) -> Self:
        """Messages that are still to be decided."""
        return self.filter(result=BulkItem.Result.WAITING)

    def under_way(self) -> Self:
        """Messages that are decided, and not carried out yet."""
        return self._whose_decision("under_way")

    def failed(self) -> Self:
        """Messages that were not decided, or whose decision had no effect."""
        not_decided = self.filter(result=BulkItem.Result.FAILED)
        return not_decided | self._whose_decision("failed")

    def _whose_decision(self, state: str) -> Self:
        states = [name for name, shown in _STATES.items() if shown == state]
        return self.filter(decision__state__in=states)


class BulkItem(models.Model):
    """One message of a bulk act, in the version that was held when it was pressed."""

    class Result(models.TextChoices):
        WAITING = "waiting"
        DECIDED = "decided"
        FAILED = "failed"
        STOPPED = "stopped"

    act = models.ForeignKey(BulkAct, on_delete=models.CASCADE, related_name="items")
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="+")
    fingerprint = models.CharField(max_length=64)
    result = models.CharField(
        max_length=8, choices=Result, default=Result.WAITING, db_default="waiting"
    )
    # Why it was not decided.
    sentence = models.TextField(default="", db_default="")
    decision = models.OneToOneField(
        Decision, null=True, on_delete=models.CASCADE, related_name="bulk_item"
    )

    objects = BulkItemQuerySet.as_manager()

    class Meta:
        indexes = [
            # For the next message of an act.
            models.Index(
                fields=["act", "id"],
                condition=Q(result="waiting"),
                name="bulk_item_waiting",
            ),
        ]
