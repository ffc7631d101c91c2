"""Where alerts go, and of what each place is told."""

from typing import Self

from django.apps import apps
from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Now

from alerts.models.channel_names import OneSpelling
from common.encryption import EncryptedTextField


class DestinationQuerySet(models.QuerySet["Destination"]):
    """Reads of the places that alerts go to."""

    def switched_off(self) -> Self:
        """Those where nobody is told any more."""
        return self.kept().exclude(switched_off_at=None).order_by("name")

    def kept(self) -> Self:
        """All but those that were removed."""
        return self.filter(removed_at=None)

    def answering(self, channel: str) -> Self:
        """Those that answer what began in this channel, however it is spelled."""
        kept = self.kept().exclude(answers_channel="").annotate(spelling=OneSpelling("answers_channel"))
        return kept.filter(spelling=OneSpelling(Value(channel)))

    def due_witnesses(self) -> Self:
        """Those that may be given the ledger's newest head now, and that need not wait."""
        due = self.filter(witnesses=True, switched_off_at=None, witness_due_at__lte=Now())
        return due.filter(Q(waits_until=None) | Q(waits_until__lte=Now()))

    def for_list(self) -> Self:
        """All of them by name, each with what it is told of."""
        return self.kept().prefetch_related("routes__connection", "routes__mailbox").order_by("name", "pk")

    def proved(self) -> Self:
        """Those that are on and took a test, or a card."""
        took = Q(tested_at__isnull=False) | models.Exists(
            apps.get_model("alerts", "Card")
            .objects.filter(destination=models.OuterRef("pk"))
            .exclude(discord_message_id="")
        )
        return self.filter(took, switched_off_at=None)


class Destination(models.Model):
    """A place that alerts go to. Its address is a secret: whoever has it can post there."""

    class Kind(models.TextChoices):
        DISCORD_WEBHOOK = "discord_webhook", "Discord webhook"
        DISCORD_BOT = "discord_bot", "Discord channel, by the bot"
        INNGEST = "inngest", "Inngest"
        SIGNED_WEBHOOK = "signed_webhook", "Signed webhook"

    class Privacy(models.TextChoices):
        FULL = "full", "Full"
        HEADERS = "headers", "Headers"
        MINIMAL = "minimal", "Minimal"

    kind = models.CharField(max_length=20, choices=Kind, default=Kind.DISCORD_WEBHOOK)
    name = models.CharField(max_length=80)
    # Empty for the bot, which needs the channel's id alone.
    url = EncryptedTextField(blank=True)
    channel = models.CharField(max_length=32, blank=True)
    # What signs the posts of a signed webhook, and what signed them until that date too, so that it can be rotated.
    secret = EncryptedTextField(blank=True)
    secret_before = EncryptedTextField(blank=True)
    secret_before_until = models.DateTimeField(null=True, blank=True)
    # What a command of this Discord channel started is answered here: its id, or its name as a trigger tells it.
    answers_channel = models.CharField(max_length=100, blank=True)
    # The id of the Discord channel that it posts in, once a post has told it. What answers a channel answers this one
    # too: some programs tell the channel's id, others its name.
    posts_in = models.CharField(max_length=32, blank=True, db_default="")
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
    # Nothing goes there before: it asked to wait, its limit is used up, or it failed just now, so often in a row.
    waits_until = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(db_default=0)
    # Taken off the desk, without its address; its cards stay to be looked up.
    removed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    # Of what happened before, nobody is told there: it was not there yet, was off, or answered another channel.
    told_since = models.DateTimeField(db_default=Now())

    objects = DestinationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                OneSpelling("answers_channel"),
                condition=~Q(answers_channel="") & Q(removed_at=None),
                name="one_place_answers_a_channel",
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_discord(self) -> bool:
        """Whether people read it: cards are posted there. To the others each event goes by itself."""
        return self.kind in (self.Kind.DISCORD_WEBHOOK, self.Kind.DISCORD_BOT)


class Route(models.Model):
    """Of which acts of the ledger a destination is told; without connection or mailbox, of those of all.

    A card that is there follows its message, whatever stands here.
    """

    destination = models.ForeignKey(Destination, on_delete=models.CASCADE, related_name="routes")
    connection = models.ForeignKey("mirror.Connection", null=True, blank=True, on_delete=models.CASCADE)
    mailbox = models.ForeignKey("mirror.Mailbox", null=True, blank=True, on_delete=models.CASCADE)
    actions = models.JSONField(default=list)
    # What happened before was asked for by nobody.
    since = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{len(self.actions)} actions to {self.destination}"
