"""What is posted in a channel: the card of a message, edited in place, or a digest of
many cards.
"""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from alerts.models.destinations import Destination
from mirror.models import Message


class Digest(models.Model):
    """One post for many cards, because more came than a channel accepts; edited in
    place.
    """

    destination = models.ForeignKey(
        Destination, on_delete=models.CASCADE, related_name="digests"
    )
    # The id in whichever channel it is: Discord's, or Slack's time stamp. Empty where
    # it cannot be edited.
    discord_message_id = models.CharField(max_length=32, blank=True)
    opened_at = models.DateTimeField(db_default=Now())
    # It accepts no more cards from then on; those that it has still change it.
    closed_at = models.DateTimeField(null=True, blank=True)
    removed = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"digest {self.discord_message_id or 'not posted'}"


class Card(models.Model):
    """The one card of a message at a destination, or of something else that is `about`:
    a connection, the desk.
    """

    destination = models.ForeignKey(Destination, on_delete=models.CASCADE)
    message = models.ForeignKey(
        Message, null=True, blank=True, on_delete=models.CASCADE, related_name="cards"
    )
    # Such as "connection/4" or "desk"; empty where there is a message.
    about = models.CharField(max_length=80, blank=True)
    # Where it is shown instead of in a post of its own.
    digest = models.ForeignKey(
        Digest, null=True, blank=True, on_delete=models.SET_NULL, related_name="cards"
    )
    discord_message_id = models.CharField(max_length=32, blank=True)
    # A person deleted the card: it is not posted again.
    removed = models.BooleanField(default=False)
    # The version of the message that it showed last, which a press on it is about.
    revision_shown = models.BigIntegerField(null=True, blank=True)

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
