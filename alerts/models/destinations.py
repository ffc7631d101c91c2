"""The tables of destinations (where alerts go) and routes (about what each of them is
notified).
"""

import re
from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from common.encryption import EncryptedTextField
from common.mail_addresses import masked_address, without_addresses
from mirror.models import Message, ScopeModel
from outgoing.guarded import TOTAL_TIMEOUT
from people.models import Person


def one_spelling(channel: str) -> str:
    """Return the name of a Discord channel in the form in which names are compared: a #
    before it, blanks around it and upper case do not matter, and Discord writes a blank
    within it as a hyphen.
    """
    name = re.sub(r"^[#\s]+|\s+$", "", channel)
    return re.sub(r"\s+", "-", name).lower()


class DestinationQuerySet(models.QuerySet["Destination"]):
    def switched_off(self) -> Self:
        """Destinations that are switched off, but not removed."""
        return self.not_removed().exclude(switched_off_at=None).order_by("name")

    def locked(self) -> Self:
        """Lock these destinations for this transaction. Deliveries can still be planned
        for them.

        To lock deliveries too, lock their destination first; the fixed order prevents
        deadlocks.
        """
        return self.select_for_update(no_key=True)

    def for_planning(self) -> Self:
        """Destinations that are switched on, with their routes."""
        # Without the secrets, because decrypting them takes longer than all the rest.
        return (
            self.filter(switched_off_at=None, owner=None)
            .only(
                "kind",
                "answers_channel",
                "mentions",
                "privacy",
                "failures",
                "told_since",
            )
            .order_by("pk")
            .prefetch_related("routes__mailbox")
        )

    def not_removed(self) -> Self:
        """The organisation's destinations that are not removed."""
        return self.filter(removed_at=None, owner=None)

    def for_list(self) -> Self:
        """All destinations that are not removed, by name, with their routes."""
        return (
            self.not_removed()
            .prefetch_related("routes__connection", "routes__mailbox")
            .order_by("name", "pk")
        )

    def proved(self) -> Self:
        """Destinations that are on and have accepted a test or a card."""
        accepted = self.filter(card__post_id__gt="").values("pk")
        return self.filter(
            Q(tested_at__isnull=False) | Q(pk__in=accepted), switched_off_at=None
        )


class Destination(models.Model):
    """Where alerts go. Its address is a secret: whoever has it can post there. If it
    has an owner, it is a way to this person, and gets their notices alone.
    """

    class Privacy(models.TextChoices):
        FULL = "full", "Full"
        HEADERS = "headers", "Headers"
        MINIMAL = "minimal", "Minimal"

    # The kind of a channel in alerts.channels. It has no choices, so that a new kind
    # needs no migration.
    kind = models.CharField(max_length=20, default="discord_webhook")
    name = models.CharField(max_length=80)
    owner = models.ForeignKey(
        Person, null=True, on_delete=models.CASCADE, related_name="destinations"
    )
    # The address of a webhook; empty for a bot, which needs only the channel's id.
    url = EncryptedTextField()
    channel = models.CharField(max_length=32)
    # A bot's token, or the key that signs events. After a change of the key, the
    # previous one signs too until the given time.
    secret = EncryptedTextField()
    secret_before = EncryptedTextField()
    secret_before_until = models.DateTimeField(null=True)
    # The Discord channel whose commands are answered at this destination: its id, or
    # its name as messages' triggers have it.
    answers_channel = models.CharField(max_length=100)
    # The role in Discord, or the user group in Slack, that is mentioned if a step of a
    # review plan asks this destination; empty for none.
    mentions = models.CharField(max_length=32)
    privacy = models.CharField(max_length=10, choices=Privacy, default=Privacy.HEADERS)
    switched_off_at = models.DateTimeField(null=True)
    switched_off_because = models.TextField()
    # When it last accepted a test at its present address.
    tested_at = models.DateTimeField(null=True)
    # Nothing is sent before this time: the destination asked to wait, its limit is used
    # up, or attempts failed.
    waits_until = models.DateTimeField(null=True)
    # How many attempts failed in a row.
    failures = models.PositiveIntegerField(db_default=0)
    # When it was removed, and its address and secrets deleted. Its deliveries stay.
    removed_at = models.DateTimeField(null=True)
    # Acts before this time are not delivered: the destination did not exist, was
    # switched off, or answered another channel.
    told_since = models.DateTimeField(db_default=Now())

    # In seconds, how long one request to it may take. A test, for which a person waits,
    # sets less.
    time_limit = TOTAL_TIMEOUT

    objects = DestinationQuerySet.as_manager()

    class Meta:
        constraints = [
            # A person has one address, and any number of browsers.
            models.UniqueConstraint(
                fields=["owner"], condition=Q(kind="email"), name="one_mail_a_person"
            ),
            models.UniqueConstraint(
                fields=["answers_channel"],
                condition=~Q(answers_channel="") & Q(removed_at=None),
                name="one_place_answers_a_channel",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def address_parts(self) -> tuple[str, str, str]:
        """Where posts go, and by which secret: after a change of one of these, nothing
        is known of the new address.
        """
        return self.url, self.channel, self.secret

    @property
    def is_minimal(self) -> bool:
        """Whether it gets no subject, no name and no whole address."""
        return self.privacy == self.Privacy.MINIMAL

    def shown_subject(self, message: Message) -> str:
        """Return what it gets to see of a message's subject."""
        if self.is_minimal:
            return "A message"
        return message.subject.strip() or "(no subject)"

    def shown_text(self, text: str) -> str:
        """Return what it gets to see of a text: at the minimal level no address."""
        return without_addresses(text) if self.is_minimal else text

    def shown_address(self, address: str) -> str:
        """Return what it gets to see of an address."""
        return masked_address(address) if self.is_minimal and address else address


class Route(ScopeModel):
    """Which actions of the ledger a destination is notified about, in a connection, in
    a mailbox, or without both in all connections.

    An existing card is edited when its message changes, whatever the routes are.
    """

    destination = models.ForeignKey(
        Destination, on_delete=models.CASCADE, related_name="routes"
    )
    actions = models.JSONField(default=list)
    # Acts before this time are not delivered.
    since = models.DateTimeField(db_default=Now())
