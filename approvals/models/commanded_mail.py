"""Mail that somebody had sent by a command on Discord, through the desk itself: its author is proved, not said."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from mirror.models.connections import Connection, Mailbox


class CommandedMail(models.Model):
    """Who gave a command that makes mail, by the id of its signed interaction; what it makes, they may not approve.

    It stands here before MultiMail is told, with the id that travels in the message's trigger. So it is never too late,
    however soon the message comes back. The id that MultiMail gave the message follows with its answer.
    """

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="commanded")
    # From where: chosen once, so that a second run of the command asks for the same.
    mailbox = models.ForeignKey(Mailbox, null=True, on_delete=models.SET_NULL, related_name="+")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    interaction_id = models.CharField(max_length=32, unique=True)
    command = models.CharField(max_length=40)
    discord_user = models.CharField(max_length=100, blank=True)
    discord_user_id = models.CharField(max_length=32)
    upstream_id = models.CharField(max_length=200, blank=True)
    # When the ledger was told at the message itself that this command is where it began.
    noted_at = models.DateTimeField(null=True, blank=True)
    given_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [
            models.Index(fields=["connection", "upstream_id"], condition=~Q(upstream_id=""), name="commanded_mail"),
            models.Index(
                fields=["given_at"], condition=~Q(upstream_id="") & Q(noted_at=None), name="commanded_to_note"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.command} by {self.person}"
