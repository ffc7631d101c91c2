"""Where alerts go, and about what each destination is notified."""

import re
from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Now

from common.encryption import EncryptedTextField
from mirror.models import Connection, Mailbox

# When two spellings of a Discord channel mean the same one: a # before the name, blanks
# around it and letters' case do not count, and a blank inside is the hyphen that
# Discord makes of it.
_AROUND, _BLANKS = r"^[#\s]+|\s+$", r"\s+"


def one_spelling(channel: str) -> str:
    """Return the one spelling of a channel."""
    return re.sub(_BLANKS, "-", re.sub(_AROUND, "", channel)).lower()


class OneSpelling(models.Func):
    """The one spelling of a channel, in queries and constraints."""

    template = f"lower(regexp_replace(regexp_replace(%(expressions)s, '{_AROUND}', '', 'g'), '{_BLANKS}', '-', 'g'))"
    arity = 1
    output_field = models.CharField()


class DestinationQuerySet(models.QuerySet["Destination"]):
    """Reads of destinations."""

    def switched_off(self) -> Self:
        """Those that were switched off, but not removed."""
        return self.not_removed().exclude(switched_off_at=None).order_by("name")

    def locked(self) -> Self:
        """Those found, locked for this transaction; deliveries can still be planned for
        them.

        Whoever locks their deliveries too locks them first.
        """
        return self.select_for_update(no_key=True)

    def for_planning(self, *, at: datetime | None = None) -> Self:
        """Those that are on, with their routes: all of them, or only what was there at
        an earlier time.
        """
        # Without its secrets, because decrypting them costs more than the rest.
        found = self.filter(switched_off_at=None).only(
            "kind", "answers_channel", "channel", "posts_in", "failures"
        )
        routes = Route.objects.prefetch_related("mailbox")
        if at is not None:
            found = found.filter(told_since__lte=at)
            routes = routes.filter(since__lte=at)
        return found.order_by("pk").prefetch_related(models.Prefetch("routes", routes))

    def not_removed(self) -> Self:
        """Destinations that are not removed."""
        return self.filter(removed_at=None)

    def answering(self, channel: str) -> Self:
        """Destinations that answer commands from this channel, in any spelling of its
        name.
        """
        found = (
            self.not_removed()
            .exclude(answers_channel="")
            .annotate(spelling=OneSpelling("answers_channel"))
        )
        return found.filter(spelling=OneSpelling(Value(channel)))

    def due_witnesses(self) -> Self:
        """Those to which the ledger's newest head may be posted now."""
        due = self.filter(
            witnesses=True, switched_off_at=None, witness_due_at__lte=Now()
        )
        return due.filter(Q(waits_until=None) | Q(waits_until__lte=Now()))

    def for_list(self) -> Self:
        """All of them by name, each with its routes."""
        return (
            self.not_removed()
            .prefetch_related("routes__connection", "routes__mailbox")
            .order_by("name", "pk")
        )

    def proved(self) -> Self:
        """Destinations that are on and have accepted a test or a card."""
        accepted = self.filter(card__discord_message_id__gt="").values("pk")
        return self.filter(
            Q(tested_at__isnull=False) | Q(pk__in=accepted), switched_off_at=None
        )


class Destination(models.Model):
    """Where alerts go. Its address is a secret: whoever has it can post there."""

    class Privacy(models.TextChoices):
        FULL = "full", "Full"
        HEADERS = "headers", "Headers"
        MINIMAL = "minimal", "Minimal"

    # A kind of alerts.channels; a new one needs no migration.
    kind = models.CharField(max_length=20, default="discord_webhook")
    name = models.CharField(max_length=80)
    # Empty for a bot, which needs the channel's id alone.
    url = EncryptedTextField()
    channel = models.CharField(max_length=32)
    # A bot's token, or the key that signs; with the key before it, which is valid until
    # that date too.
    secret = EncryptedTextField()
    secret_before = EncryptedTextField()
    secret_before_until = models.DateTimeField(null=True)
    # What a command in this Discord channel started is answered here: its id, or its
    # name as the trigger has it.
    answers_channel = models.CharField(max_length=100)
    # The id of the channel that it posts in, known from its first post on. What answers
    # a channel answers this one too: some programs send the channel's id, others its
    # name.
    posts_in = models.CharField(max_length=32, db_default="")
    privacy = models.CharField(max_length=10, choices=Privacy, default=Privacy.HEADERS)
    switched_off_at = models.DateTimeField(null=True)
    switched_off_because = models.TextField()
    # When it last accepted a test at its present address.
    tested_at = models.DateTimeField(null=True)
    # Keeps the newest head of the ledger: which was posted last, when, and when the
    # next may be.
    witnesses = models.BooleanField(default=False)
    witnessed_seal = models.BigIntegerField(null=True)
    witnessed_at = models.DateTimeField(null=True)
    witness_due_at = models.DateTimeField(db_default=Now())
    # Nothing goes there before: it asked to wait, its limit is used up, or it failed
    # `failures` times in a row.
    waits_until = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(db_default=0)
    # Its address is forgotten then; its cards stay to be looked up.
    removed_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    # Earlier acts are not delivered: the destination did not exist, was off, or
    # answered another channel.
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


class Route(models.Model):
    """The acts of the ledger about which a destination is notified; without connection
    or mailbox, everywhere.

    An existing card follows its message whatever the routes are.
    """

    destination = models.ForeignKey(
        Destination, on_delete=models.CASCADE, related_name="routes"
    )
    connection = models.ForeignKey(Connection, null=True, on_delete=models.CASCADE)
    mailbox = models.ForeignKey(Mailbox, null=True, on_delete=models.CASCADE)
    actions = models.JSONField(default=list)
    # What happened before is not delivered.
    since = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{len(self.actions)} actions to {self.destination}"
