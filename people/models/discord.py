"""A person's Discord accounts, and the one-time links that link them."""

from django.db import models
from django.db.models.functions import Now

from people.models.person import Person


class DiscordAccount(models.Model):
    """A Discord account that belongs to a person of the desk; one account has one person."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="discord_accounts")
    discord_id = models.CharField(max_length=32, unique=True)
    name = models.CharField(max_length=100, blank=True)
    linked_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.name or self.discord_id


class DiscordLink(models.Model):
    """A link that was sent to a Discord account. The signed-in person who confirms it is linked to the account."""

    discord_id = models.CharField(max_length=32)
    name = models.CharField(max_length=100, blank=True)
    token_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"link for {self.name or self.discord_id}"
