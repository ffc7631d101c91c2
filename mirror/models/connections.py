"""The MultiMail accounts that the desk is connected to, their mailboxes, and what they sent."""

import secrets
from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from common.encryption import EncryptedTextField
from mirror.querysets import ConnectionQuerySet, MailboxQuerySet, WebhookEventQuerySet
from upstream.capabilities import WORDS


def _webhook_id() -> str:
    return secrets.token_urlsafe(24)


class Connection(models.Model):
    """A MultiMail account, hosted or our own gateway, with the keys that the desk holds for it."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=80)
    api_url = models.URLField()
    # Part of the webhook's address: nobody can post to it by guessing, and each connection has its own secret.
    webhook_id = models.CharField(max_length=64, unique=True, default=_webhook_id)
    webhook_secret = EncryptedTextField()
    previous_webhook_secret = EncryptedTextField(blank=True)
    # None with a previous secret: the change of secrets is unfinished, and both are accepted.
    previous_secret_until = models.DateTimeField(null=True, blank=True)
    oversight_key = EncryptedTextField()
    read_key = EncryptedTextField(blank=True)
    admin_key = EncryptedTextField(blank=True)
    agent_key = EncryptedTextField(blank=True)
    # Our own gateway answers for one message by id and compares the fingerprint when it decides.
    is_our_gateway = models.BooleanField(default=False)
    # As last read: whether the account requires a fingerprint of every decision, whatever its mailboxes say.
    require_fingerprint = models.BooleanField(default=False, db_default=False)
    # The minimum oversight mode that our gateway had when it was last compared, and why it could not be set there.
    gate_minimum = models.CharField(max_length=20, blank=True, default="", db_default="")
    gate_minimum_error = models.TextField(blank=True, default="", db_default="")
    gate_minimum_checked_at = models.DateTimeField(null=True, blank=True)
    complete_as_of = models.DateTimeField(null=True, blank=True)
    # When the ledger recorded that it had not been read for long.
    stale_since = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_because = models.TextField(blank=True)
    # Paused by a person: only a person can resume it.
    paused_by_hand = models.BooleanField(default=False)
    # After a 429 the whole connection waits.
    wait_until = models.DateTimeField(null=True, blank=True)
    # The lease of the whole read: one at a time, at most one a second.
    reading_until = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    # An approve of unknown outcome that is still held goes out again by itself, instead of asking a person.
    repeats_unknown_approvals = models.BooleanField(default=False)
    # Short hash of the oversight key last found unable to send; each key is checked once.
    checked_key = models.CharField(max_length=16, blank=True)
    # What MultiMail last said that each key may do, by slot: {"oversight": ["oversight"]}; and when it was asked.
    key_scopes = models.JSONField(default=dict, blank=True)
    keys_checked_at = models.DateTimeField(null=True, blank=True)
    # MultiMail's own id of the account, as its keys reported it; empty where none did.
    account_id = models.CharField(max_length=200, blank=True)
    # The webhook that the desk registered there for itself.
    upstream_webhook_id = models.CharField(max_length=200, blank=True)
    # How many webhooks with a wrong signature came in the last day, and since when there are any.
    unsigned_count = models.PositiveIntegerField(default=0, db_default=0)
    unsigned_since = models.DateTimeField(null=True, blank=True)
    # Optional fields of calls that MultiMail refused here with 422; they are left out.
    refused_fields = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    # Whether MultiMail can do these things here, as reads last showed: {"contacts": true}; and when it was asked.
    capabilities = models.JSONField(default=dict, blank=True, db_default=models.Value({}, models.JSONField()))
    surveyed_at = models.DateTimeField(null=True, blank=True)
    # When an event that was asked for as a test came in.
    webhook_tested_at = models.DateTimeField(null=True, blank=True)
    # Removed: without keys and secrets, never called again; its history stays.
    removed_at = models.DateTimeField(null=True, blank=True)
    # When its contacts were last read.
    contacts_read_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = ConnectionQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name

    @property
    def lacks(self) -> list[str]:
        """What MultiMail cannot do here, or not with these keys, in words; whether it is our gateway is said apart."""
        missing = (name for name in WORDS if self.capabilities.get(name) is False and name != "gateway")
        return [WORDS[name][0] for name in missing]


class Mailbox(models.Model):
    """A mailbox of a connection, as mirrored, with what the desk adds."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="mailboxes")
    upstream_id = models.CharField(max_length=200)
    address = models.CharField(max_length=320)
    display_name = models.CharField(max_length=200, blank=True)
    oversight_mode = models.CharField(max_length=20, blank=True)
    # As last read from MultiMail; empty until then.
    auto_cc = models.JSONField(default=list, blank=True)
    auto_bcc = models.JSONField(default=list, blank=True)
    signature_block = models.CharField(max_length=200, blank=True)
    # Whether our gateway adds a postal address and a link to unsubscribe.
    commercial = models.BooleanField(default=False, db_default=False)
    # Whether our gateway sends HTML in its simple form only.
    simplify_html = models.BooleanField(default=False, db_default=False)
    forward_inbound = models.BooleanField(default=False)
    allow_looser_per_call = models.BooleanField(default=False)
    # Whether decisions about its mail have to name the fingerprint of what was read (our gateway).
    require_fingerprint = models.BooleanField(default=False, db_default=False)
    scheduling_enabled = models.BooleanField(default=True)
    default_gate_timing = models.CharField(max_length=20, blank=True)
    is_active = models.BooleanField(default=True)
    mirrored_at = models.DateTimeField(null=True, blank=True)
    undo_window = models.DurationField(default=timedelta(seconds=5))
    expire_after = models.DurationField(null=True, blank=True)
    # Whether who edited a message may be the one who approves it.
    editor_may_approve = models.BooleanField(default=False, db_default=False)
    # Whether people may have the remote pictures of its messages fetched, one message at a time.
    loads_pictures = models.BooleanField(default=False, db_default=False)

    objects = MailboxQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "upstream_id"], name="mailbox_once")]

    def __str__(self) -> str:
        return self.address or self.upstream_id

    @property
    def short_name(self) -> str:
        """The part before the @, as shown on a chip."""
        return str(self).partition("@")[0]


class WebhookEvent(models.Model):
    """One webhook as it was received, stored unchanged, whatever its result."""

    class Result(models.TextChoices):
        APPLIED = "applied"
        DUPLICATE = "duplicate"
        LATE = "late"
        # It reports the end of a message: a read has to confirm it. A read found the opposite.
        CHECKING = "checking"
        REFUTED = "refuted"
        UNKNOWN = "unknown"
        POISON = "poison"

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE)
    digest = models.CharField(max_length=64)
    event_id = models.CharField(max_length=200, blank=True)
    name = models.CharField(max_length=64, blank=True)
    # The message it is about, as far as the body could be read.
    email_id = models.CharField(max_length=200, blank=True)
    body = models.BinaryField()
    secret_used = models.CharField(max_length=10)
    result = models.CharField(max_length=10, choices=Result)
    error = models.TextField(blank=True)
    trace = models.CharField(max_length=64, blank=True)
    received_at = models.DateTimeField(db_default=Now())
    # When a person or a later read handled it, if it was poison or late, or had to be checked.
    handled_at = models.DateTimeField(null=True, blank=True)

    objects = WebhookEventQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "digest"], name="event_body_once"),
            models.UniqueConstraint(fields=["connection", "event_id"], condition=~Q(event_id=""), name="event_id_once"),
        ]
        indexes = [
            models.Index(
                fields=["connection", "result"],
                condition=Q(result__in=("poison", "late", "checking", "refuted"), handled_at=None),
                name="event_to_look_at",
            ),
            # Old bodies are deleted in batches.
            models.Index(fields=["received_at"], name="event_received"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.result}"


class SuppressedAddress(models.Model):
    """A suppressed address at MultiMail, as last read."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="suppressed")
    # The bare address in lower case.
    address = models.CharField(max_length=320)
    reason = models.CharField(max_length=60, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "address"], name="suppressed_once")]

    def __str__(self) -> str:
        return self.address


class KnownContact(models.Model):
    """An address among the contacts of the account, as the desk last read them; only the list mode `contacts` asks."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="contacts")
    # In the form that allowlists compare.
    address = models.CharField(max_length=320)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "address"], name="known_contact_once")]

    def __str__(self) -> str:
        return self.address


class WebhookName(models.Model):
    """What people here call a webhook of the account. MultiMail keeps no names of webhooks."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="webhook_names")
    upstream_id = models.CharField(max_length=200)
    name = models.CharField(max_length=80)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "upstream_id"], name="webhook_name_once")]

    def __str__(self) -> str:
        return self.name
