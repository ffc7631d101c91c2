"""Emails, their attachments, and the memory of what was sent already."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from common.identifiers import ulid
from gateway.models.accounts import Account, ApiKey, Mailbox
from gateway.modes import GateTiming, Mode
from gateway.querysets.emails import CHARGED, AttachmentQuerySet, EmailQuerySet, IdempotencyQuerySet
from gateway.states import AWAITING_DECISION, Decision, Direction, Status


class Email(models.Model):
    """One email, in or out. `status` is written only through EmailQuerySet.move."""

    id = models.CharField(primary_key=True, max_length=26, default=ulid, editable=False)
    # Both have indexes below that begin with them; every letter pays for every index.
    account = models.ForeignKey(Account, models.CASCADE, related_name="+", db_index=False)
    mailbox = models.ForeignKey(Mailbox, models.CASCADE, related_name="emails", db_index=False)
    direction = models.CharField(max_length=8, choices=Direction)
    status = models.CharField(max_length=24, choices=Status)
    # Set from the key that made it, and never changed: a sandbox message is not delivered, whoever approves it.
    sandbox = models.BooleanField()
    sent_by_key = models.ForeignKey(ApiKey, models.RESTRICT, null=True, related_name="+")
    created_at = models.DateTimeField()

    # What the recipient gets.
    from_address = models.CharField(max_length=254)
    from_name = models.CharField(max_length=200, blank=True)
    reply_to = models.CharField(max_length=254, blank=True)
    to = ArrayField(models.CharField(max_length=254))
    cc = ArrayField(models.CharField(max_length=254), default=list)
    bcc = ArrayField(models.CharField(max_length=254), default=list)
    subject = models.CharField(max_length=998, blank=True)
    markdown = models.TextField(blank=True)
    html = models.TextField(null=True)
    has_attachments = models.BooleanField(default=False)
    # What the mailbox adds. Taken from the mailbox as it is until approval (or sending), fixed from then on.
    additions = models.JSONField(null=True)
    message_id_header = models.CharField(max_length=300)
    in_reply_to = models.CharField(max_length=998, blank=True)
    references = models.TextField(blank=True)
    thread_id = models.CharField(max_length=40)
    # Of the bytes as received: what a mail server delivers again is the same email.
    received_sha256 = models.CharField(max_length=64, blank=True)
    metadata = models.JSONField(default=dict)
    tags = models.JSONField(default=dict)
    # What the agent says of received mail: spam, not_spam, or nothing.
    user_label = models.CharField(max_length=8, blank=True, db_default="")

    # Oversight.
    oversight_mode = models.CharField(max_length=12, choices=Mode)
    gated = models.BooleanField(default=False)
    send_at = models.DateTimeField(null=True)
    gate_timing = models.CharField(max_length=16, choices=GateTiming, blank=True)
    decision = models.CharField(max_length=8, choices=Decision, blank=True)
    decision_reason = models.TextField(blank=True)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=200, blank=True)
    decided_by_key = models.ForeignKey(ApiKey, models.RESTRICT, null=True, related_name="+")

    # Delivery. `due_at` and `lease_until` are the database's clock.
    due_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    # Committed before the message's bytes are offered to the mail server: from here on only the server's answer
    # tells whether it has them, so an attempt that ends without one is never repeated.
    data_attempted_at = models.DateTimeField(null=True)
    fate_unknown = models.BooleanField(default=False)
    last_error = models.TextField(blank=True)
    sent_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    bounced_at = models.DateTimeField(null=True)
    bounce_type = models.CharField(max_length=40, blank=True)
    # Recipients that the mail server refused, or mail servers after it: address to [code, text].
    refused_recipients = models.JSONField(default=dict)
    # Its envelope sender is an address of its own (verp.py), so a report about it has to come to that.
    has_return_address = models.BooleanField(default=False, db_default=False)
    # What mail servers reported later, by recipient: {"action": ..., "status": ..., "at": ...}.
    reported = models.JSONField(default=dict)

    objects = EmailQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(status__in=Status.values), name="email_status_known"),
            models.CheckConstraint(condition=Q(direction__in=Direction.values), name="email_direction_known"),
            models.CheckConstraint(condition=Q(oversight_mode__in=Mode.values), name="email_mode_known"),
            models.CheckConstraint(condition=Q(decision__in=["", *Decision.values]), name="email_decision_known"),
            # Nothing that is gated leaves without a recorded decision, whatever the code does.
            models.CheckConstraint(
                condition=~Q(gated=True, status=Status.SENT) | Q(decision=Decision.APPROVED),
                name="email_gated_leaves_approved",
            ),
            models.UniqueConstraint(
                fields=["mailbox", "received_sha256"],
                condition=~Q(received_sha256=""),
                name="email_received_once",
            ),
        ]
        indexes = [
            # The pending list of an account, oldest first; small, because decided mail leaves it.
            models.Index(
                fields=["account", "id"], condition=Q(status__in=AWAITING_DECISION), name="email_awaiting_decision"
            ),
            # The outbox: what is due next.
            models.Index(fields=["due_at"], condition=Q(status=Status.SCHEDULED), name="email_outbox"),
            # What a crashed request left behind between storing and moving on.
            models.Index(fields=["created_at"], condition=Q(status=Status.PENDING_SCAN), name="email_unscanned"),
            # The list of a mailbox, newest first, also by cursor.
            models.Index(fields=["mailbox", "-id"], name="email_of_mailbox"),
            models.Index(fields=["account", "thread_id", "id"], name="email_of_thread"),
            # What an answer refers to.
            models.Index(fields=["message_id_header"], name="email_by_message_id"),
            # Quotas count what an account sent in a month, at each letter: from this index alone.
            models.Index(fields=["account", "created_at"], condition=CHARGED, name="email_charged"),
            # Usage counts what came, left and was decided in a period.
            models.Index(
                fields=["account", "created_at"],
                condition=Q(direction=Direction.INBOUND),
                name="email_received_in_period",
            ),
            models.Index(fields=["account", "sent_at"], condition=~Q(sent_at=None), name="email_sent_in_period"),
            models.Index(
                fields=["account", "decided_at"], condition=~Q(decided_at=None), name="email_decided_in_period"
            ),
        ]

    def __str__(self) -> str:
        return self.id


class Attachment(models.Model):
    """One attached file. `content` is only loaded where the bytes are needed."""

    email = models.ForeignKey(Email, models.CASCADE, related_name="attachments")
    name = models.CharField(max_length=255)
    content_type = models.CharField(max_length=127)
    size = models.PositiveIntegerField()
    sha256 = models.CharField(max_length=64)
    content = models.BinaryField()

    objects = AttachmentQuerySet.as_manager()

    class Meta:
        constraints = [
            # Attachments are addressed by name.
            models.UniqueConstraint(fields=["email", "name"], name="attachment_name_once_an_email"),
        ]

    def __str__(self) -> str:
        return self.name


class IdempotencyRecord(models.Model):
    """Remembers which email a key of the caller, or the same content a moment ago, made."""

    class Operation(models.TextChoices):
        SEND = "send"
        REPLY = "reply"
        # No key was given: the content itself is the key, for a minute.
        CONTENT = "content"

    # The unique index below begins with it.
    mailbox = models.ForeignKey(Mailbox, models.CASCADE, related_name="+", db_index=False)
    sandbox = models.BooleanField()
    operation = models.CharField(max_length=8, choices=Operation)
    key = models.CharField(max_length=200)
    email = models.ForeignKey(Email, models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64)
    expires_at = models.DateTimeField()

    objects = IdempotencyQuerySet.as_manager()

    class Meta:
        constraints = [
            # The one thing that decides between two requests with the same key: the second waits for the first here.
            models.UniqueConstraint(fields=["mailbox", "sandbox", "operation", "key"], name="idempotency_key_once"),
            models.CheckConstraint(
                condition=Q(operation__in=["send", "reply", "content"]), name="idempotency_operation_known"
            ),
        ]
        indexes = [
            # Clearing out by age.
            models.Index(fields=["expires_at"], name="idempotency_expiry"),
        ]

    def __str__(self) -> str:
        return f"{self.operation} {self.key}"
