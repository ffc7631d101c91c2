"""The tables of what was done about messages that are late, or nearly. What does it is
in `escalation`.
"""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from mirror.models import Message


class StepDone(models.Model):
    """A step of the review plan that was done for a message, or passed over for a later
    one: once, whoever runs it.
    """

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="steps_done"
    )
    # What the step says, with the deadline where that was extended.
    step = models.CharField(max_length=120)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["message", "step"], name="step_done_once")
        ]

    def __str__(self) -> str:
        return self.step


class Reminder(models.Model):
    """A person was reminded of a message that is late, or nearly; it stands in their
    list until it is decided.
    """

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="reminders"
    )
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="reminders"
    )
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["person", "message"], name="reminder_once")
        ]

    def __str__(self) -> str:
        return f"{self.person} is reminded"
