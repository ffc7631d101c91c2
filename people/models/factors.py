"""Recovery codes, and which roles need a second factor."""

from django.db import models
from django.db.models.functions import Now

from common.actors import ROLE_CHOICES
from people.models.person import Person


class RoleRule(models.Model):
    """Whether a role needs a second factor. Without a row it does not."""

    role = models.CharField(max_length=10, primary_key=True, choices=ROLE_CHOICES)
    needs_second_factor = models.BooleanField(default=False)
    changed_by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    changed_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.role}: {'second factor' if self.needs_second_factor else 'password'}"


class RecoveryCode(models.Model):
    """A one-time code that replaces a lost second factor. Only its hash is stored."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="recovery_codes")
    digest = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"recovery code of {self.person}"
