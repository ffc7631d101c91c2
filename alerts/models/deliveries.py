"""What is posted in a channel, cards and digests; what must be delivered to a
destination, with its attempts; and what came from Discord and must be answered.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from alerts.models.destinations import Destination
from common.encryption import EncryptedTextField
from common.grace import STUCK_AFTER
from mirror.models import Message
from outgoing.models import Delivery as CourierDelivery
from outgoing.models import DeliveryQuerySet as CourierDeliveryQuerySet
from people.models import Person


class Digest(models.Model):
    """One post for many cards, because more came than a channel accepts; edited in
    place.
    """

    destination = models.ForeignKey(
        Destination, on_delete=models.CASCADE, related_name="digests"
    )
    # The id in whichever channel it is: Discord's, or Slack's time stamp. Empty where
    # it cannot be edited.
    discord_message_id = models.CharField(max_length=32)
    opened_at = models.DateTimeField(db_default=Now())
    # It accepts no more cards from then on; those that it has still change it.
    closed_at = models.DateTimeField(null=True)
    removed = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"digest {self.discord_message_id or 'not posted'}"


class Card(models.Model):
    """The one card of a message at a destination, or of something else that is `about`:
    a connection, the desk.
    """

    destination = models.ForeignKey(Destination, on_delete=models.CASCADE)
    message = models.ForeignKey(
        Message, null=True, on_delete=models.CASCADE, related_name="cards"
    )
    # Such as "connection/4" or "desk"; empty where there is a message.
    about = models.CharField(max_length=80)
    # Where it is shown instead of in a post of its own.
    digest = models.ForeignKey(
        Digest, null=True, on_delete=models.SET_NULL, related_name="cards"
    )
    discord_message_id = models.CharField(max_length=32)
    # A person deleted the card: it is not posted again.
    removed = models.BooleanField(default=False)
    # The version of the message that it showed last, which a press on it is about.
    revision_shown = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["destination", "message"], name="one_card"),
            models.UniqueConstraint(
                fields=["destination", "about"],
                condition=~Q(about=""),
                name="one_card_about",
            ),
            models.CheckConstraint(
                condition=Q(message__isnull=False, about="")
                | (Q(message=None) & ~Q(about="")),
                name="card_is_about_one_thing",
            ),
            models.CheckConstraint(
                condition=Q(digest=None) | Q(discord_message_id=""),
                name="one_place_a_card",
            ),
        ]

    def __str__(self) -> str:
        return f"card {self.discord_message_id or 'not posted'}"


class DeliveryQuerySet(CourierDeliveryQuerySet):
    """Reads of card deliveries."""

    def overdue(self) -> Self:
        """Those that should have been tried a while ago, at a destination that need not
        wait.
        """
        waits = Q(destination__waits_until__gt=Now() - STUCK_AFTER)
        return (
            self.in_turn()
            .due()
            .filter(next_attempt_at__lt=Now() - STUCK_AFTER)
            .exclude(waits)
        )

    def unfinished(self) -> Self:
        """Deliveries that are neither delivered nor given up."""
        return self.filter(state__in=("due", "sending"))

    def in_turn(self) -> Self:
        """Deliveries that wait for no other: no earlier event or answer of the same
        message, no digest.
        """
        ordered = ("event", "answer")
        earlier = self.model._default_manager.unfinished().filter(
            destination=models.OuterRef("destination"),
            message=models.OuterRef("message"),
            kind__in=ordered,
            pk__lt=models.OuterRef("pk"),
        )
        behind = Q(kind__in=ordered, message__isnull=False) & models.Exists(earlier)
        return self.exclude(behind).exclude(kind="card", card__digest__isnull=False)

    def dead_lately(self) -> Self:
        """Those that were given up in the last 24 hours."""
        return self.filter(
            state="failed", last_attempt_at__gt=Now() - timedelta(hours=24)
        )

    def for_list(self, actor: Any) -> Self:
        """The newest first, of messages that the actor may see, with everything a line
        shows.
        """
        # Requests and answers are long, and shown only on the page of one delivery.
        listed = (
            self.select_related("destination", "message")
            .defer("request", "answer")
            .order_by("-pk")
        )
        if actor.sees_all():
            return listed
        return listed.filter(message__in=Message.objects.visible_to(actor))

    def for_log(self, actor: Any, filters: Mapping[str, Any]) -> Self:
        """What the filters ask for, of what the actor may see, newest first."""
        found = self.for_list(actor)
        for name, value in filters.items():
            found = found.filter(**{"pk__lt" if name == "before" else name: value})
        return found


class UnplannedAct(models.Model):
    """An act of the ledger that waits to be planned: this row is made with it, and goes
    when it is planned.
    """

    entry = models.BigIntegerField(primary_key=True)
    recorded_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"entry {self.entry}"


class Delivery(CourierDelivery):
    """Something due at a destination. What a card or a digest shows is decided when it
    is sent.
    """

    class Kind(models.TextChoices):
        CARD = "card", "Card"
        DIGEST = "digest", "Digest"
        ANSWER = "answer", "Answer where it began"
        EVENT = "event", "Event"

    kind = models.CharField(max_length=8, choices=Kind, default=Kind.CARD)
    destination = models.ForeignKey(
        Destination, on_delete=models.CASCADE, related_name="deliveries"
    )
    card = models.ForeignKey(
        Card, null=True, on_delete=models.CASCADE, related_name="deliveries"
    )
    digest = models.ForeignKey(
        Digest,
        null=True,
        on_delete=models.CASCADE,
        related_name="deliveries",
    )
    message = models.ForeignKey(
        Message,
        null=True,
        on_delete=models.CASCADE,
        related_name="deliveries",
    )
    # The act that it is about, by the number of its entry in the ledger.
    entry = models.BigIntegerField(null=True)
    action = models.CharField(max_length=40)
    # The last request and its answer, for the log. Every attempt of an event has the
    # same id and body.
    event_id = models.CharField(max_length=64)
    request = models.TextField()
    answer = models.TextField()
    # When request and answer were erased with the message.
    erased_at = models.DateTimeField(null=True)

    objects = DeliveryQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        indexes = [
            # What was given up, few among many.
            models.Index(
                fields=["id"], condition=Q(state="failed"), name="delivery_dead"
            ),
            # For the worker: all deliveries that are due.
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(state__in=("due", "sending")),
                name="delivery_to_do",
            ),
            # For one destination: the next delivery.
            models.Index(
                fields=["destination", "id"],
                condition=Q(state__in=("due", "sending")),
                name="delivery_to_do_there",
            ),
        ]
        constraints = [
            # An act is delivered to a destination once, however often it is planned.
            models.UniqueConstraint(
                fields=["destination", "entry"],
                condition=Q(kind__in=("event", "answer")),
                name="told_once",
            ),
            models.CheckConstraint(
                condition=Q(kind="card", card__isnull=False, digest=None)
                | Q(kind="digest", digest__isnull=False, card=None)
                | Q(kind__in=("answer", "event"), card=None, digest=None),
                name="delivery_is_of_its_kind",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.state}"

    def on_digest(self) -> DeliveryQuerySet:
        """The deliveries that were claimed with this one: of the cards on it, where it
        is a digest.
        """
        if self.digest_id is None:
            return Delivery.objects.none()
        return Delivery.objects.filter(
            card__digest=self.digest_id,
            state=self.State.SENDING,
            lease_until=self.lease_until,
        )

    def _finish(self, **fields: Any) -> bool:
        self.on_digest().update(lease_until=None, last_attempt_at=Now(), **fields)
        return super()._finish(answer=self.answer, **fields)

    @property
    def ledger_subject(self) -> dict[str, Any]:
        """What an entry about this delivery says of its message, if it has one."""
        message = self.message
        if message is None:
            return {}
        return {
            "connection": message.connection_id,
            "message": message.public_id,
            "words": message.ledger_words(),
        }

    @property
    def is_tried_again(self) -> bool:
        """Whether it failed and waits for another try. One that was only asked to wait
        has not failed.
        """
        return (
            self.state == self.State.DUE and self.attempts > 0 and bool(self.last_error)
        )


class Interaction(CourierDelivery):
    """One signed interaction on Discord: a button, a form or a command, by the id that
    Discord gave it. It is processed once, and stored until it is answered: while it is
    due, its answer is still owed.

    Discord takes answers for 15 minutes. Then, or once it was answered, token and
    options are forgotten.
    """

    class Kind(models.TextChoices):
        PRESS = "press", "Button"
        FORM = "form", "Form"
        COMMAND = "command", "Command"

    discord_id = models.CharField(max_length=32, unique=True)
    kind = models.CharField(max_length=8, choices=Kind)
    # Of a button or a form what it asks for; of a command its name.
    name = models.CharField(max_length=40)
    discord_user_id = models.CharField(max_length=32)
    discord_user = models.CharField(max_length=100)
    discord_channel = models.CharField(max_length=100)
    discord_channel_id = models.CharField(max_length=32)
    discord_guild_id = models.CharField(max_length=32)
    person = models.ForeignKey(Person, null=True, on_delete=models.SET_NULL)
    message = models.ForeignKey(Message, null=True, on_delete=models.SET_NULL)
    # JSON, as it came: the text of a mail may stand there.
    options = EncryptedTextField()
    token = EncryptedTextField()
    # How it ended, in a word.
    outcome = models.CharField(max_length=40)
    # The answer to a press, as JSON: a repeated press gets the same answer, and has no
    # other effect.
    answer = EncryptedTextField()

    class Meta:
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(state__in=("due", "sending")),
                name="interaction_to_do",
            ),
            # Interactions of the last minutes, whose answer is still stored.
            models.Index(
                fields=["created_at"],
                condition=~Q(answer=""),
                name="interaction_answered",
            ),
            # For counting an account's recent refusals.
            models.Index(
                fields=["discord_user_id", "created_at"], name="interaction_of_account"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.state}"
