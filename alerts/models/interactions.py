"""An interaction on Discord: a button, a form or a command. Each is processed once and
stored until it is answered.
"""

from django.db import models
from django.db.models import Q

from common.encryption import EncryptedTextField
from mirror.models import Message
from outgoing.models import Delivery as CourierDelivery
from people.models import Person


class Interaction(CourierDelivery):
    """One signed interaction, by the id that Discord gave it; while it is due, its
    answer is still owed.

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
    discord_user = models.CharField(max_length=100, blank=True)
    discord_channel = models.CharField(max_length=100, blank=True)
    discord_channel_id = models.CharField(max_length=32, blank=True)
    discord_guild_id = models.CharField(max_length=32, blank=True)
    person = models.ForeignKey(Person, null=True, blank=True, on_delete=models.SET_NULL)
    message = models.ForeignKey(
        Message, null=True, blank=True, on_delete=models.SET_NULL
    )
    # JSON, as it came: the text of a mail may stand there.
    options = EncryptedTextField(blank=True)
    token = EncryptedTextField(blank=True)
    # How it ended, in a word.
    outcome = models.CharField(max_length=40, blank=True)
    # The answer to a press, as JSON: a repeated press gets the same answer, and has no
    # other effect.
    answer = EncryptedTextField(blank=True)

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
