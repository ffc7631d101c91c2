"""Who is told of what, and what was delivered. A message has one card at a destination, edited in place."""

from datetime import timedelta
from typing import Any, Self

from django.apps import apps
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from common.encryption import EncryptedTextField
from courier.models import Delivery as CourierDelivery
from courier.models import DeliveryQuerySet as CourierDeliveryQuerySet


class DestinationQuerySet(models.QuerySet["Destination"]):
    """Reads of the places that alerts go to."""

    def switched_off(self) -> Self:
        """Those where nobody is told any more."""
        return self.kept().exclude(switched_off_at=None).order_by("name")

    def kept(self) -> Self:
        """All but those that were removed."""
        return self.filter(removed_at=None)

    def due_witnesses(self) -> Self:
        """Those that may be given the ledger's newest head now."""
        return self.filter(witnesses=True, switched_off_at=None, witness_due_at__lte=Now())

    def for_list(self) -> Self:
        """All of them by name, each with what it is told of."""
        return self.kept().prefetch_related("routes__connection").order_by("name", "pk")

    def proved(self) -> Self:
        """Those that are on and took a test, or a card."""
        took = Q(tested_at__isnull=False) | models.Exists(
            Card.objects.filter(destination=models.OuterRef("pk")).exclude(discord_message_id="")
        )
        return self.filter(took, switched_off_at=None)


class Destination(models.Model):
    """A place that alerts go to. Its address is a secret: whoever has it can post there."""

    class Kind(models.TextChoices):
        DISCORD_WEBHOOK = "discord_webhook", "Discord webhook"

    class Privacy(models.TextChoices):
        FULL = "full", "Full"
        HEADERS = "headers", "Headers"
        MINIMAL = "minimal", "Minimal"

    kind = models.CharField(max_length=20, choices=Kind, default=Kind.DISCORD_WEBHOOK)
    name = models.CharField(max_length=80)
    url = EncryptedTextField()
    privacy = models.CharField(max_length=10, choices=Privacy, default=Privacy.HEADERS)
    switched_off_at = models.DateTimeField(null=True, blank=True)
    switched_off_because = models.TextField(blank=True)
    # When it last took a test at the address that it has now.
    tested_at = models.DateTimeField(null=True, blank=True)
    # Keeps the newest head of the ledger; which it was given last, when, and from when on it may be given another.
    witnesses = models.BooleanField(default=False)
    witnessed_seal = models.BigIntegerField(null=True, blank=True)
    witnessed_at = models.DateTimeField(null=True, blank=True)
    witness_due_at = models.DateTimeField(db_default=Now())
    # Taken off the desk, without its address; its cards stay to be looked up.
    removed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = DestinationQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


class Route(models.Model):
    """For which acts of the ledger a destination gets a card; without a connection, for those of all.

    A card that is there follows its message, whatever stands here.
    """

    destination = models.ForeignKey(Destination, on_delete=models.CASCADE, related_name="routes")
    connection = models.ForeignKey("approvals.Connection", null=True, blank=True, on_delete=models.CASCADE)
    actions = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"{len(self.actions)} actions to {self.destination}"


class Card(models.Model):
    """The one card of a message at a destination."""

    destination = models.ForeignKey(Destination, on_delete=models.CASCADE)
    message = models.ForeignKey("approvals.Message", on_delete=models.CASCADE, related_name="cards")
    discord_message_id = models.CharField(max_length=32, blank=True)
    # A person deleted the card: it is not posted again.
    removed = models.BooleanField(default=False)
    status_shown = models.CharField(max_length=40, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["destination", "message"], name="one_card")]

    def __str__(self) -> str:
        return f"card {self.discord_message_id or 'not posted'}"


class DeliveryQuerySet(CourierDeliveryQuerySet):
    """Reads of card deliveries."""

    def overdue(self) -> Self:
        """Those that should have been tried a while ago."""
        return self.due().filter(next_attempt_at__lt=Now() - timedelta(minutes=1))

    def dead_lately(self) -> Self:
        """Those that were given up in the last 24 hours."""
        return self.filter(state="failed", last_attempt_at__gt=Now() - timedelta(hours=24))

    def for_list(self, actor: Any) -> Self:
        """The newest first, of messages that the actor may see, with everything a line shows."""
        mirror: Any = apps.get_model("approvals", "Message")._default_manager
        visible = mirror.visible_to(actor)
        return (
            self.filter(card__message__in=visible).select_related("card__destination", "card__message").order_by("-pk")
        )


class Delivery(CourierDelivery):
    """A card that must be brought up to date; what it shows is decided when it is sent."""

    card = models.ForeignKey(Card, on_delete=models.CASCADE, related_name="deliveries")
    action = models.CharField(max_length=40)

    objects = DeliveryQuerySet.as_manager()  # type: ignore[misc]

    class Meta:
        indexes = [
            # The worker's question: what is due?
            models.Index(fields=["next_attempt_at"], condition=Q(state__in=("due", "sending")), name="delivery_to_do")
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.state}"

    @property
    def is_tried_again(self) -> bool:
        """Whether it failed and waits for another try. What Discord only asked to wait with has not failed."""
        return self.state == self.State.DUE and self.attempts > 0 and bool(self.last_error)
