"""Who uses the gateway: accounts, their keys and their mailboxes."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from common.identifiers import ulid
from gateway.modes import GateTiming, Mode
from gateway.querysets.accounts import AccountMailboxQuerySet, ApiKeyQuerySet


class Account(models.Model):
    """A tenant: nothing of one account is ever visible to another."""

    id = models.CharField(primary_key=True, max_length=26, default=ulid, editable=False)
    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=60, unique=True)
    oversight_email = models.CharField(max_length=254, blank=True)
    physical_address = models.CharField(max_length=300, blank=True)
    is_active = models.BooleanField(default=True)
    # While this is set, nothing leaves that was not approved after it.
    hold_all_at = models.DateTimeField(null=True, blank=True)
    # Limits; none: unlimited, and for requests what the operator has set for all.
    monthly_email_quota = models.PositiveIntegerField(null=True, blank=True)
    max_mailboxes = models.PositiveIntegerField(null=True, blank=True)
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    # A new sender may send little a day at first; 0: warmed up.
    warmup_stage = models.PositiveSmallIntegerField(default=0)
    warmup_daily_limit = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.name


class Scope(models.TextChoices):
    """What a key may do."""

    READ = "read"
    SEND = "send"
    OVERSIGHT = "oversight"
    OVERSIGHT_READ = "oversight_read"
    ADMIN = "admin"


class ApiKey(models.Model):
    """A credential. Only a hash is kept; the text is shown once, when the key is made."""

    id = models.CharField(primary_key=True, max_length=26, default=ulid, editable=False)
    account = models.ForeignKey(Account, models.CASCADE, related_name="keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=20)
    sha256 = models.CharField(max_length=64, unique=True)
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope))
    # Ids of the mailboxes this key is limited to; empty: all. No join on the way of every request.
    mailbox_ids = ArrayField(models.CharField(max_length=26), default=list, blank=True)
    sandbox = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        constraints = [
            # One key that writes and approves would be its own reviewer.
            models.CheckConstraint(
                condition=~Q(scopes__contains=[Scope.SEND, Scope.OVERSIGHT]), name="key_never_sends_and_decides"
            ),
            models.CheckConstraint(condition=Q(scopes__contained_by=Scope.values), name="key_scopes_known"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"

    def may(self, *scopes: str) -> bool:
        """Whether the key has one of `scopes`; `admin` includes `read`."""
        held = set(self.scopes) | ({Scope.READ} if Scope.ADMIN in self.scopes else set())
        return bool(held & set(scopes))

    def administers(self) -> bool:
        """Whether the key can look after the whole account, all its keys included."""
        return Scope.ADMIN in self.scopes and not self.mailbox_ids and not self.sandbox and self.revoked_at is None

    def is_party(self) -> bool:
        """Whether less oversight would be in its own favour: it sends, or is made only for trying out.

        Such a key loosens nothing by itself, whatever else it may do.
        """
        return self.may(Scope.SEND) or self.sandbox

    def sees_held(self) -> bool:
        """Whether the key may read what waits for a decision."""
        return self.may(Scope.OVERSIGHT, Scope.OVERSIGHT_READ)

    def mail_filter(self) -> dict[str, bool]:
        """Return the filter for the mail that the key knows of: sandbox mail, live mail, or (empty) both."""
        sees_both = self.sees_held() and not self.is_party()
        return {} if sees_both else {"sandbox": self.sandbox}


class Mailbox(models.Model):
    """An address that agents send from, and how closely people look at it."""

    id = models.CharField(primary_key=True, max_length=26, default=ulid, editable=False)
    account = models.ForeignKey(Account, models.CASCADE, related_name="mailboxes")
    # Kept for ever, also when the mailbox is gone: an address must not come back under another owner.
    address = models.CharField(max_length=254, unique=True)
    display_name = models.CharField(max_length=200, blank=True)
    oversight_mode = models.CharField(max_length=12, choices=Mode, default=Mode.GATED_SEND)
    allow_looser_per_call = models.BooleanField(default=False)
    auto_cc = models.CharField(max_length=2000, blank=True)
    auto_bcc = models.CharField(max_length=2000, blank=True)
    signature_block = models.CharField(max_length=200, blank=True)
    default_gate_timing = models.CharField(max_length=16, choices=GateTiming, default=GateTiming.GATE_FIRST)
    scheduling_enabled = models.BooleanField(default=True)
    forward_inbound = models.BooleanField(default=False)
    ai_disclosure = models.BooleanField(default=True)
    mcp_configured = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now())

    objects = AccountMailboxQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(oversight_mode__in=Mode.values), name="mailbox_mode_known"),
            models.CheckConstraint(
                condition=Q(default_gate_timing__in=GateTiming.values), name="mailbox_gate_timing_known"
            ),
        ]
        indexes = [
            # The list of an account's mailboxes, and the only mailbox of an account.
            models.Index(fields=["account", "id"], name="mailbox_of_account"),
        ]

    def __str__(self) -> str:
        return self.address
