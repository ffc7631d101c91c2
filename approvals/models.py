"""The mirror of what MultiMail holds, and what people decided about it. Rules live in the commands, not here."""

import secrets
from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from approvals.querysets import ConnectionQuerySet, DecisionQuerySet, MailboxQuerySet, MessageQuerySet
from approvals.states import LIVE_DECISIONS, DecisionState, MessageState, Outcome
from common.encryption import EncryptedTextField
from common.fingerprint import short_fingerprint
from common.identifiers import uuid7


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
    previous_secret_until = models.DateTimeField(null=True, blank=True)
    oversight_key = EncryptedTextField()
    read_key = EncryptedTextField(blank=True)
    admin_key = EncryptedTextField(blank=True)
    agent_key = EncryptedTextField(blank=True)
    # Our own gateway answers for one message by id and compares the fingerprint when it decides.
    is_our_gateway = models.BooleanField(default=False)
    complete_as_of = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_because = models.TextField(blank=True)
    # After a 429 the whole connection waits.
    wait_until = models.DateTimeField(null=True, blank=True)
    # One whole read of what is held at a time, and at most one a second.
    reading_until = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = ConnectionQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


class Mailbox(models.Model):
    """A mailbox of a connection, as mirrored, with what the desk adds."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="mailboxes")
    upstream_id = models.CharField(max_length=64)
    address = models.CharField(max_length=320)
    display_name = models.CharField(max_length=200, blank=True)
    oversight_mode = models.CharField(max_length=20, blank=True)
    undo_window = models.DurationField(default=timedelta(seconds=5))
    expire_after = models.DurationField(null=True, blank=True)

    objects = MailboxQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "upstream_id"], name="mailbox_once")]

    def __str__(self) -> str:
        return self.address or self.upstream_id

    @property
    def short_name(self) -> str:
        """The part before the @, as it stands on a chip."""
        return str(self).partition("@")[0]


class WebhookEvent(models.Model):
    """One webhook as it was received, kept whole, whatever became of it."""

    class Result(models.TextChoices):
        APPLIED = "applied"
        DUPLICATE = "duplicate"
        LATE = "late"
        UNKNOWN = "unknown"
        POISON = "poison"

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE)
    digest = models.CharField(max_length=64)
    event_id = models.CharField(max_length=200, blank=True)
    name = models.CharField(max_length=64, blank=True)
    body = models.BinaryField()
    secret_used = models.CharField(max_length=10)
    result = models.CharField(max_length=10, choices=Result)
    error = models.TextField(blank=True)
    trace = models.CharField(max_length=64, blank=True)
    received_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "digest"], name="event_body_once"),
            models.UniqueConstraint(fields=["connection", "event_id"], condition=~Q(event_id=""), name="event_id_once"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.result}"


class Message(models.Model):
    """A message as MultiMail has it. `state` is derived from events; `upstream_status` is kept word for word."""

    public_id = models.UUIDField(unique=True, default=uuid7, editable=False)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="messages")
    mailbox = models.ForeignKey(Mailbox, null=True, on_delete=models.SET_NULL, related_name="messages")
    upstream_id = models.CharField(max_length=200)
    direction = models.CharField(max_length=10, default="outbound")
    thread_id = models.CharField(max_length=200, blank=True)
    upstream_status = models.CharField(max_length=64, blank=True)
    state = models.CharField(max_length=20, choices=MessageState)
    sandbox = models.BooleanField(default=False)
    sender = models.CharField(max_length=1000, blank=True)
    recipients = models.JSONField(default=list)
    subject = models.TextField(blank=True)
    trigger = models.JSONField(default=dict)
    sent_by_key = models.CharField(max_length=200, blank=True)
    trace = models.CharField(max_length=64, blank=True)
    held_at = models.DateTimeField()
    hydrated_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    # When upstream was last seen to hold it; what an older read lacks must not be closed.
    seen_at = models.DateTimeField(db_default=Now())
    changed_at = models.DateTimeField(db_default=Now())
    revision = models.ForeignKey("Revision", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    upstream_reason = models.TextField(blank=True)
    upstream_decided_by = models.CharField(max_length=200, blank=True)

    objects = MessageQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "upstream_id"], name="message_once"),
            models.CheckConstraint(condition=Q(state__in=MessageState.values), name="message_state_known"),
        ]
        indexes = [
            # The queue, oldest first: its cost follows what waits, not what ever was.
            models.Index(fields=["held_at", "id"], condition=Q(state="held"), name="message_held"),
            # History, newest first.
            models.Index(F("changed_at").desc(), F("id").desc(), name="message_changed"),
            # Links in cards and in MultiMail's pages name only the upstream id.
            models.Index(fields=["upstream_id"], name="message_upstream"),
        ]

    def __str__(self) -> str:
        return self.subject or "(no subject)"

    @property
    def latest_decision(self) -> "Decision | None":
        """The newest decision of ours; reads the prefetched rows of `for_list`."""
        decisions = sorted(self.decisions.all(), key=lambda decision: -decision.pk)
        return decisions[0] if decisions else None


class Revision(models.Model):
    """The content at one time. It never changes; verdicts and the ledger point to it."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    content = models.JSONField()
    coverage = models.JSONField()
    fingerprint = models.CharField(max_length=64)
    findings = models.JSONField(default=list)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["message", "number"], name="revision_once")]

    def __str__(self) -> str:
        return f"version {self.number} {self.short_fingerprint}"

    @property
    def short_fingerprint(self) -> str:
        """The fingerprint as people see it."""
        return short_fingerprint(self.fingerprint)


class Verdict(models.Model):
    """What one person said to one revision."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="verdicts")
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    outcome = models.CharField(max_length=10, choices=Outcome)
    reason = models.TextField(blank=True)
    surface = models.CharField(max_length=16)
    # No longer counted once the decision that it led to was undone or refused.
    live = models.BooleanField(default=True)
    given_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["message", "person"], condition=Q(live=True), name="verdict_once"),
            models.CheckConstraint(condition=Q(outcome__in=Outcome.values), name="verdict_outcome_known"),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} by {self.person}"


class Decision(models.Model):
    """What the desk has decided and must carry out, at most once."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="decisions")
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT)
    outcome = models.CharField(max_length=10, choices=Outcome)
    reason = models.TextField(blank=True)
    # Goes upstream at the end of the reason: the only mark of ours that comes back.
    reference = models.CharField(max_length=24, unique=True)
    state = models.CharField(max_length=14, choices=DecisionState, default=DecisionState.RECORDED)
    given_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT)
    recorded_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField()
    attempt = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(db_default=Now())
    # Set once a call may have left: from then on nothing is undone, and silence proves nothing.
    may_have_left = models.BooleanField(default=False)
    # How many complete reads have shown the message still held, or absent, since the doubt began.
    seen_held = models.PositiveSmallIntegerField(default=0)
    seen_absent = models.PositiveSmallIntegerField(default=0)
    upstream_answer = models.JSONField(default=dict)
    explanation = models.TextField(blank=True)

    objects = DecisionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["message"], condition=Q(state__in=LIVE_DECISIONS), name="one_live_decision"
            ),
            models.CheckConstraint(condition=Q(state__in=DecisionState.values), name="decision_state_known"),
            models.CheckConstraint(condition=Q(outcome__in=Outcome.values), name="decision_outcome_known"),
        ]
        indexes = [
            # The executor's and the sweep's question: what is there to do?
            models.Index(
                fields=["due_at"], condition=Q(state__in=("recorded", "calling", "unknown")), name="decision_to_do"
            )
        ]

    def __str__(self) -> str:
        return f"{self.outcome} {self.state}"

    @property
    def word(self) -> str:
        """The outcome as a past participle, for sentences."""
        return {"approve": "approved", "reject": "rejected", "send_back": "sent back"}[self.outcome]


class DecisionAttempt(models.Model):
    """What happened at one attempt to carry a decision out: rows are only added."""

    decision = models.ForeignKey(Decision, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    event = models.CharField(max_length=20)
    status = models.PositiveIntegerField(null=True, blank=True)
    note = models.TextField(blank=True)
    at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.number} {self.event}"
