"""The tables of accounts, API keys, mailboxes and domains, and of the audit log."""

from __future__ import annotations

import hashlib
from typing import Any, Self, TypeVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from common.encryption import EncryptedTextField
from common.identifiers import ulid
from common.mail_addresses import comparable, without_tag
from common.postgres import one_of
from gateway.states import GateTiming, Mode, stricter

Rows = TypeVar("Rows", bound="models.QuerySet[Any]")


def hash_key(text: str) -> str:
    """Return the hash under which an API key is stored and looked up."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class UlidModel(models.Model):
    """A row whose id is a ULID: opaque to clients, and in order of creation."""

    id = models.CharField(primary_key=True, max_length=26, default=ulid, editable=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        abstract = True

    @classmethod
    def locked(cls, pk: str) -> Self:
        """Return the row with this id, locked until the transaction ends. Other
        transactions can still insert rows that refer to it.
        """
        return cls._default_manager.select_for_update(no_key=True).get(pk=pk)

    def save_fields(self, **fields: Any) -> None:
        """Set these fields and save them alone."""
        for name, value in fields.items():
            setattr(self, name, value)
        self.save(update_fields=list(fields))


class Account(UlidModel):
    """A tenant: nothing of one account is ever visible to another."""

    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=60, unique=True)
    oversight_email = models.CharField(max_length=254)
    physical_address = models.CharField(max_length=300)
    is_active = models.BooleanField(default=True)
    # While set, only messages that were approved after this time are sent.
    hold_all_at = models.DateTimeField(null=True)
    # Whether every decision about the account's mail must give the fingerprint of what
    # was read.
    require_fingerprint = models.BooleanField(default=False)
    # The loosest oversight mode that a mailbox can be given; empty: any mode.
    minimum_oversight_mode = models.CharField(max_length=12, choices=Mode)
    # Limits; null: no limit.
    monthly_email_quota = models.PositiveIntegerField(null=True)
    max_mailboxes = models.PositiveIntegerField(null=True)
    # Live emails a day, for a new sender that may send only a few at first.
    warmup_daily_limit = models.PositiveIntegerField(null=True)


class Scope(models.TextChoices):
    """What a key may do."""

    READ = "read"
    SEND = "send"
    OVERSIGHT = "oversight"
    OVERSIGHT_READ = "oversight_read"
    ADMIN = "admin"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def by_hash(self, sha256: str) -> ApiKey | None:
        """Return the key with this hash and its account, even if it is revoked, or
        None.
        """
        return self.select_related("account").filter(sha256=sha256).first()

    def manageable_by(self, key: ApiKey) -> Self:
        """The keys that `key` may manage: no key with more mailboxes than its own, and
        by a sandbox key only sandbox keys.
        """
        keys = self.filter(account_id=key.account_id)
        if key.sandbox:
            keys = keys.filter(sandbox=True)
        if key.mailbox_ids:
            keys = keys.filter(mailbox_ids__contained_by=key.mailbox_ids).exclude(
                mailbox_ids=[]
            )
        return keys

    def account_admins(self) -> Self:
        """Live keys that can administer a whole account, and do not expire."""
        return self.filter(
            scopes__contains=["admin"],
            mailbox_ids=[],
            sandbox=False,
            revoked_at=None,
            expires_at=None,
        )


class ApiKey(UlidModel):
    """A credential. Only a hash is kept; the text is shown once, when the key is
    made.
    """

    account = models.ForeignKey(Account, models.CASCADE, related_name="keys")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=20)
    sha256 = models.CharField(max_length=64, unique=True)
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope))
    # Ids of the mailboxes that this key is limited to; empty: all. An array, so that
    # requests need no join.
    mailbox_ids = ArrayField(models.CharField(max_length=26), default=list)
    sandbox = models.BooleanField(default=False)
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    # From then on it is refused; null: never.
    expires_at = models.DateTimeField(null=True)
    # While set, calls that need the scope send are refused; others are not.
    paused_at = models.DateTimeField(null=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        constraints = [
            # One key that writes and approves would be its own reviewer.
            models.CheckConstraint(
                condition=~Q(scopes__contains=[Scope.SEND, Scope.OVERSIGHT]),
                name="key_never_sends_and_decides",
            ),
            models.CheckConstraint(
                condition=Q(scopes__contained_by=Scope.values), name="key_scopes_known"
            ),
        ]

    @property
    def is_active(self) -> bool:
        """Whether it is not revoked, and has not expired."""
        has_expired = self.expires_at is not None and self.expires_at <= timezone.now()
        return not self.revoked_at and not has_expired

    def limited(self, rows: Rows, column: str = "mailbox_id") -> Rows:
        """Return those of `rows` whose `column` is a mailbox of the key; all rows if
        the key is not limited.
        """
        if not self.mailbox_ids:
            return rows
        return rows.filter(**{f"{column}__in": self.mailbox_ids})

    def may(self, *scopes: str) -> bool:
        """Whether the key has one of `scopes`; `admin` includes `read`."""
        if Scope.READ in scopes and Scope.ADMIN in self.scopes:
            return True
        return not set(scopes).isdisjoint(self.scopes)

    def has_conflict_of_interest(self) -> bool:
        """Whether the key would profit from less oversight: it sends, or is a sandbox
        key.

        Such a key loosens nothing by itself, whatever else it may do.
        """
        return self.may(Scope.SEND) or self.sandbox

    def sees_held(self) -> bool:
        """Whether the key may read received mail that no person has approved yet.

        A key that sends may not: such mail may hold instructions to the agent that has
        the key.
        """
        return self.may(Scope.OVERSIGHT, Scope.OVERSIGHT_READ) and not self.may(
            Scope.SEND
        )

    def mail_filter(self) -> dict[str, bool]:
        """Return the filter for the mail that the key may see: sandbox mail, live mail,
        or (empty) both.
        """
        sees_both = self.sees_held() and not self.has_conflict_of_interest()
        return {} if sees_both else {"sandbox": self.sandbox}


class AccountMailboxQuerySet(models.QuerySet["Mailbox"]):
    def visible_to(self, key: ApiKey) -> Self:
        """The active mailboxes of the account that the key may use."""
        return key.limited(self.filter(account_id=key.account_id, is_active=True), "pk")

    def closed(self) -> Self:
        """Deleted mailboxes, and those of deleted accounts."""
        return self.filter(Q(is_active=False) | Q(account__is_active=False))


class Mailbox(UlidModel):
    """An address that agents send from and receive at, with its oversight mode."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="mailboxes")
    # Unique for ever, also after deletion: an address must not come back with another
    # owner.
    address = models.CharField(max_length=254, unique=True)
    display_name = models.CharField(max_length=200)
    oversight_mode = models.CharField(
        max_length=12, choices=Mode, default=Mode.GATED_SEND
    )
    allow_looser_per_call = models.BooleanField(default=False)
    # Whether every decision about its mail must give the fingerprint of what was read.
    require_fingerprint = models.BooleanField(default=False)
    auto_cc = models.CharField(max_length=2000)
    auto_bcc = models.CharField(max_length=2000)
    signature_block = models.CharField(max_length=200)
    default_gate_timing = models.CharField(
        max_length=16, choices=GateTiming, default=GateTiming.GATE_FIRST
    )
    scheduling_enabled = models.BooleanField(default=True)
    forward_inbound = models.BooleanField(default=False)
    # Marketing: its mail has the account's postal address and a link to unsubscribe.
    commercial = models.BooleanField(default=False, db_default=False)
    # Newsletters: HTML is stored and sent as it was handed in, not in its simple form.
    send_as_designed = models.BooleanField(default=False, db_default=False)
    mcp_configured = models.BooleanField(default=False)
    # While reviewers have stopped it, its approved mail waits.
    is_stopped = models.BooleanField(default=False, db_default=False)
    is_active = models.BooleanField(default=True)

    objects = AccountMailboxQuerySet.as_manager()

    class Meta:
        constraints = [
            one_of("oversight_mode", Mode.values, "mailbox_mode_known"),
            one_of(
                "default_gate_timing", GateTiming.values, "mailbox_gate_timing_known"
            ),
        ]
        indexes = [
            # The list of an account's mailboxes, and the only mailbox of an account.
            models.Index(fields=["account", "id"], name="mailbox_of_account")
        ]

    def __str__(self) -> str:
        return self.address

    def takes(self, address: str) -> bool:
        """Whether mail to this address, perhaps with a +tag, reaches the mailbox."""
        whole = comparable(address)
        return self.address in (whole, without_tag(whole))

    def mode_for(self, asked: Mode | None) -> Mode:
        """Return the mode of one message, for which the call asks for the mode `asked`.

        A call can make the mode stricter. It can make it looser only if the operator
        has allowed that for the mailbox, and if the mailbox is not read_only.
        """
        mailbox_mode = Mode(self.oversight_mode)
        if not asked:
            return mailbox_mode
        if self.allow_looser_per_call and mailbox_mode is not Mode.READ_ONLY:
            return asked
        return stricter(mailbox_mode, asked)


class AuditLogQuerySet(models.QuerySet["AuditLogEntry"]):
    def visible_to(self, key: ApiKey) -> Self:
        """The entries of the key's account; for a key that is limited to mailboxes only
        those about its mailboxes.

        A sandbox key sees what sandbox keys did.
        """
        entries = self.filter(account_id=key.account_id)
        if key.sandbox:
            entries = entries.filter(actor_key__sandbox=True)
        if not key.mailbox_ids:
            return entries
        about_mailboxes = Q(resource_type="mailbox", resource_id__in=key.mailbox_ids)
        return entries.filter(
            about_mailboxes | Q(metadata__mailbox_id__in=key.mailbox_ids)
        )


class AuditLogEntry(UlidModel):
    """One act. `metadata` holds facts, never bodies; and what a client reports."""

    # No index of its own: the index below begins with this column.
    account = models.ForeignKey(
        Account, models.CASCADE, related_name="+", db_index=False
    )
    action = models.CharField(max_length=40)
    resource_type = models.CharField(max_length=20)
    resource_id = models.CharField(max_length=40)
    actor_key = models.ForeignKey(ApiKey, models.RESTRICT, null=True, related_name="+")
    metadata = models.JSONField(default=dict)

    objects = AuditLogQuerySet.as_manager()

    class Meta:
        indexes = [
            # The log of an account, newest first, by cursor.
            models.Index(fields=["account", "-id"], name="audit_log_of_account")
        ]


class DomainQuerySet(models.QuerySet["Domain"]):
    def visible_to(self, key: ApiKey) -> Self:
        """The domains of the key's account."""
        return self.filter(account_id=key.account_id)

    def active(self) -> Self:
        """Verified domains."""
        return self.filter(status="active")

    def oldest_of(self, account: Account) -> str:
        """The name of the account's oldest active domain, or an empty text."""
        domains = self.active().filter(account=account).order_by("id")
        return domains.values_list("domain", flat=True).first() or ""


class Domain(UlidModel):
    """A domain of an account, and whether DNS has proved that the account owns it."""

    class Status(models.TextChoices):
        PENDING = "pending"
        ACTIVE = "active"

    account = models.ForeignKey(Account, models.CASCADE, related_name="domains")
    domain = models.CharField(max_length=253)
    status = models.CharField(max_length=8, choices=Status, default=Status.PENDING)
    # The secret that the owner puts into DNS as the proof.
    token = models.CharField(max_length=64)
    # By the key of a record (domains.py): what was wrong with it when DNS was last
    # asked; empty: nothing.
    dns_problems = models.JSONField(default=dict)
    looked_at = models.DateTimeField(null=True)
    verified_at = models.DateTimeField(null=True)
    # The DKIM key. It signs mail only after DNS was seen to publish it.
    dkim_selector = models.CharField(max_length=63)
    dkim_private_key = EncryptedTextField(default="")
    # As in DNS: the DER form in base64.
    dkim_public_key = models.TextField()
    dkim_verified_at = models.DateTimeField(null=True)
    # Signs in its place when DNS is seen to have it.
    next_dkim_selector = models.CharField(max_length=63)
    next_dkim_private_key = EncryptedTextField(default="")
    next_dkim_public_key = models.TextField()

    objects = DomainQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "domain"], name="domain_once_an_account"
            ),
            # Two accounts may claim a domain; only one can have it verified.
            models.UniqueConstraint(
                fields=["domain"],
                condition=Q(status="active"),
                name="domain_active_once",
            ),
            one_of("status", ["pending", "active"], "domain_status_known"),
        ]

    def is_right(self, key: str) -> bool:
        """Whether the record with this key was right when DNS was last asked."""
        return bool(self.dns_problems.get(key) == "")
