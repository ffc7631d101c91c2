"""Edits, in which a person sends an edited copy in place of a held message; and mail
that people created with a Discord command.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Now

from approvals.models.decisions import Decision
from common.grace import STUCK_AFTER
from common.postgres import one_of
from mirror.models import Connection, Mailbox, Message, Revision
from mirror.models.connections import is_rested
from mirror.models.messages import OfMessagesQuerySet
from mirror.states import LATELY, LET_GO, LIVE_DECISIONS, VOID, MessageState
from people.models import Person

# The key in a message's metadata with the reference of the edit that made it.
EDIT = "countersign_edit"
# The key in a message's metadata with the id of the Discord command that made it.
INTERACTION = "discord_interaction_id"
# The states in which a worker still has something to do.
_OPEN = ("sending", "sent")
# The original message could not be rejected.
_LEFT_TO_A_PERSON = Q(state="done") & ~Q(problem="")
# How long the call that sends the copy is repeated. MultiMail forgets an idempotency
# key after 24 hours (docs/multimail.md), and a later call could send a second copy.
REPEAT_FOR = timedelta(hours=20)


# The message that a replacement made, in a query about replacements.
_NEW_MESSAGE = Q(connection=OuterRef("connection"), upstream_id=OuterRef("upstream_id"))


def edit_of(message: Message) -> str:
    """Return the reference of the edit that the message names in its metadata; empty if
    it names none. It is no proof: any sender could write it there.
    """
    return str(message.trigger.get(EDIT) or "")[:24]


def _made(messages: Sequence[Message]) -> Q:
    ids = [message.upstream_id for message in messages if message.upstream_id]
    references = [edit for message in messages if (edit := edit_of(message))]
    by_reference = Q(reference__in=references, upstream_id="")
    connections = {message.connection_id for message in messages}
    return (Q(upstream_id__in=ids) | by_reference) & Q(connection__in=connections)


class ReplacementQuerySet(OfMessagesQuerySet["Replacement"]):
    """Reads of replacements. Leases and due times are compared with the database's
    clock.
    """

    def that_made(self, messages: Sequence[Message]) -> Self:
        """Replacements that made one of these messages, oldest first: by the new
        message's id or, while that is not known yet, by the reference in its metadata.
        """
        return self.filter(_made(messages)).order_by("pk")

    def around(self, messages: Sequence[Message]) -> Self:
        """Replacements of these messages and of all their versions, oldest first. Which
        there are is asked at once. As columns `first_sent` and `new_sent` they have
        whether the message that they replace, and the new one, were approved or sent; in
        doubt they were. `first_key` and `first_held_at` say which API key sent the first
        version, and since when it is held.
        """
        known = _made(messages) | Q(message__in=messages)
        roots = list(self.filter(known).values_list("root", flat=True))
        # Most messages were never edited, and the query below is a long one.
        if not roots:
            return self.none()
        decisions = Decision.objects.filter(message=OuterRef("pk"))
        # If MultiMail lost it and no decision of ours took effect, it may be sent.
        is_lost = Q(state="gone") & ~Exists(decisions.filter(state="applied"))
        approvals = decisions.filter(outcome="approve").exclude(state__in=VOID)
        approvals |= decisions.may_still_take_effect()
        is_sent = Q(state__in=LET_GO) | is_lost | Exists(approvals)
        sent = Message.objects.filter(is_sent).annotate(
            edit=KeyTextTransform(EDIT, "trigger")
        )
        claimed = Q(answers=OuterRef("message"), edit=OuterRef("reference"))
        edits = self.exclude(state="refused").filter(root__in=roots).order_by("pk")
        return edits.annotate(
            first_sent=Exists(sent.filter(pk=OuterRef("message"))),
            new_sent=Exists(sent.filter(_NEW_MESSAGE | claimed)),
            first_key=F("root__sent_by_key"),
            first_held_at=F("root__held_at"),
        )

    def move(self, row: "Replacement", *, to: str, **fields: Any) -> bool:
        """Change a row's state, if nobody else has changed it since it was read. Return
        whether it was changed.
        """
        changes = {"state": to, **fields}
        return bool(self.filter(pk=row.pk, state=row.state).update(**changes))

    def open(self) -> Self:
        """Replacements whose copy is being sent, or whose original message is still to
        be rejected.
        """
        return self.filter(state__in=_OPEN)

    def free(self) -> Self:
        """Replacements that no worker holds a lease on."""
        return self.filter(Q(lease_until=None) | Q(lease_until__lt=Now()))

    def due(self) -> Self:
        """Replacements that a worker can carry on with now (relies on
        replacement_to_do).
        """
        has_arrived = Exists(Message.objects.filter(_NEW_MESSAGE))
        to_note = Q(state="done", noted_at=None) & has_arrived
        ready = self.free().filter(
            is_rested("connection__"),
            connection__paused_at=None,
            next_attempt_at__lte=Now(),
        )
        return ready.filter(Q(state__in=_OPEN) | to_note)

    def left_half(self) -> Self:
        """Replacements that stopped halfway: the original is held, and the copy is or
        may be held too. A person has to finish them, or a worker should have.

        Relies on replacement_recent, and on replacement_to_do for older ones.
        """
        over = (MessageState.REJECTED, MessageState.CANCELLED)
        copy_is_over = Exists(Message.objects.filter(_NEW_MESSAGE, state__in=over))
        newer = self.model.objects.filter(
            message=OuterRef("message"), pk__gt=OuterRef("pk")
        )
        is_sent = Q(state__in=("sent", "done", "unknown")) | Q(
            state="sending", called_at__lt=Now()
        )
        stuck = Q(state="sending", created_at__lt=Now() - STUCK_AFTER)
        recent = self.free().filter(
            Q(created_at__gt=Now() - LATELY) | Q(state__in=_OPEN) | _LEFT_TO_A_PERSON
        )
        halfway = recent.filter(
            is_sent | stuck,
            ~copy_is_over,
            ~Exists(newer),
            message__state=MessageState.HELD,
        )
        return halfway.exclude(message__decisions__state__in=LIVE_DECISIONS)


class Replacement(models.Model):
    """An edited copy of a held message, which a person has sent as a new message. The
    original message is then rejected as replaced.

    The row is stored before MultiMail is called, with the idempotency key of the call,
    so that a repeated call does not create a second message.
    """

    class State(models.TextChoices):
        # The call is to be made, or to be repeated because its outcome is not known.
        SENDING = "sending"
        # MultiMail has the new message; the original one is to be rejected.
        SENT = "sent"
        DONE = "done"
        # No new message was created.
        REFUSED = "refused"
        # Whether there is a new message is not known, and the call is too old to
        # repeat.
        UNKNOWN = "unknown"

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="replacements"
    )
    # The message that the first of several edits in a row replaced. Its row is locked
    # while one of these messages is approved, so that at most one is.
    root = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="+")
    # The version that was edited.
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="+")
    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="+"
    )
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    # Keys of people: those who edited this text or an earlier version of it, and those
    # who started the first message.
    editors = ArrayField(models.BigIntegerField(), default=list)
    authors = ArrayField(models.BigIntegerField(), default=list)
    to = ArrayField(models.TextField())
    cc = ArrayField(models.TextField(), default=list)
    bcc = ArrayField(models.TextField(), default=list)
    subject = models.TextField()
    markdown = models.TextField()
    # What the person wrote to the agent about the edit.
    note = models.TextField()
    reference = models.CharField(max_length=24, unique=True)
    # Known to nobody: MultiMail answers a key that was used before with the message that
    # it was used for, and another message would be taken for the edited version.
    idempotency_key = models.CharField(max_length=64, default=secrets.token_urlsafe)
    state = models.CharField(max_length=8, choices=State, default=State.SENDING)
    # MultiMail's id of the new message.
    upstream_id = models.CharField(max_length=200)
    # Set before the first call. Once it is set, the new message may exist.
    called_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    # None if no worker tries again.
    next_attempt_at = models.DateTimeField(null=True, db_default=Now())
    # Why the copy was refused, or why the original message is still held.
    problem = models.TextField()
    # When the ledger got an entry on the new message that says who edited it.
    noted_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    # From `around`.
    first_sent: bool
    new_sent: bool
    first_key: str
    first_held_at: datetime

    objects = ReplacementQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["message"],
                condition=Q(state__in=("sending", "sent")),
                name="one_open_replacement",
            ),
            one_of(
                "state",
                ("sending", "sent", "done", "refused", "unknown"),
                "replacement_state_known",
            ),
        ]
        indexes = [
            models.Index(
                fields=["connection", "upstream_id"],
                condition=~Q(upstream_id=""),
                name="replacement_made",
            ),
            # For the sweep, and for the list of edits that people have to finish.
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(state__in=("sending", "sent"))
                | Q(state="done", noted_at=None)
                | _LEFT_TO_A_PERSON,
                name="replacement_to_do",
            ),
            models.Index(fields=["created_at"], name="replacement_recent"),
        ]

    def made(self, message: Message) -> bool:
        """Whether this replacement made the message, as in `that_made`."""
        if self.upstream_id:
            new = (self.connection_id, self.upstream_id)
            return new == (message.connection_id, message.upstream_id)
        return self.reference == edit_of(message)


class CommandedMailQuerySet(models.QuerySet["CommandedMail"]):
    """Reads of mail that commands created."""

    def naming(self, messages: Sequence[Message]) -> Self:
        """Rows that have the id of one of these messages, or of the interaction that
        one names.
        """
        ids = {one.upstream_id for one in messages} - {""}
        named = [str(one.trigger.get(INTERACTION)) for one in messages]
        return self.filter(Q(upstream_id__in=ids) | Q(interaction_id__in=named))

    def to_note(self) -> Self:
        """Rows whose message is in the mirror, but whose command is not in its trail."""
        return self.filter(
            is_noted=False, mailbox__connection__messages__upstream_id=F("upstream_id")
        )


class CommandedMail(models.Model):
    """Mail that a person created with a Discord command, which the desk received as a
    signed interaction. This person may not approve the message.

    The row is stored before MultiMail is called, so that it exists however soon the
    message arrives: the message's trigger has the same interaction id. MultiMail's id
    of the message is added from the answer.
    """

    mailbox = models.ForeignKey(Mailbox, on_delete=models.CASCADE, related_name="+")
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    interaction_id = models.CharField(max_length=32, unique=True)
    upstream_id = models.CharField(max_length=200, db_index=True)
    # Whether the message's trail has an entry that says which command created it. The
    # index is for the few rows without one.
    is_noted = models.BooleanField(default=False, db_index=True)

    objects = CommandedMailQuerySet.as_manager()

    def made(self, message: Message) -> bool:
        """Whether it created the message. A sender can claim any interaction, but this
        only keeps the person of that interaction from approving the message.
        """
        named = message.trigger.get(INTERACTION)
        return self.upstream_id == message.upstream_id or self.interaction_id == named
