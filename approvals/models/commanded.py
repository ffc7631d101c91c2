"""The table of commands that created mail: whoever gave one may not approve that mail."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from mirror.models import Connection, Mailbox


class CommandedMail(models.Model):
    """The person who gave a command that creates mail, by its signed interaction's id.
    They may not approve that mail.

    The row is stored before MultiMail is called, with the id that is sent in the
    message's trigger, so it is there however soon the message arrives. MultiMail's id
    of the message is added from its answer.
    """

    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="commanded"
    )
    # From where: chosen once, so that a second run of the command asks for the same.
    mailbox = models.ForeignKey(
        Mailbox, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    interaction_id = models.CharField(max_length=32, unique=True)
    command = models.CharField(max_length=40)
    discord_user = models.CharField(max_length=100, blank=True)
    discord_user_id = models.CharField(max_length=32)
    upstream_id = models.CharField(max_length=200, blank=True)
    # When an entry on the message recorded that this command created it.
    noted_at = models.DateTimeField(null=True, blank=True)
    given_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [
            models.Index(
                fields=["connection", "upstream_id"],
                condition=~Q(upstream_id=""),
                name="commanded_mail",
            ),
            models.Index(
                fields=["given_at"],
                condition=~Q(upstream_id="") & Q(noted_at=None),
                name="commanded_to_note",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.command} by {self.person}"
