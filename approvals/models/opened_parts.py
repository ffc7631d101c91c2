"""Which parts of a message somebody has been given. Nothing here decides."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from mirror.models import Message


class OpenedPartQuerySet(models.QuerySet["OpenedPart"]):
    """Reads of who was given which part."""

    def of(self, message: Message, *, person: int) -> set[str]:
        """Return the parts of this message that the person was given."""
        return set(self.filter(message=message, person=person).values_list("part", flat=True))


class OpenedPart(models.Model):
    """One person was given one part of a letter: a file, the thread as it then was, the links."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="opened_parts")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    part = models.CharField(max_length=100)
    at = models.DateTimeField(db_default=Now())

    objects = OpenedPartQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["message", "person", "part"], name="part_once")]

    def __str__(self) -> str:
        return self.part
