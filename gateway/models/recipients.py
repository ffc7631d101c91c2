"""The tables of whom an account writes to: allowlists, messages that were refused,
contacts, and suppressed addresses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import FilteredRelation, Q
from django.utils import timezone

from common.mail_addresses import comparable
from common.postgres import one_of
from gateway.models.accounts import Account, ApiKey, Mailbox, UlidModel

# Kind, mode and version of a list, and the pattern of an entry of it or None.
ListMatch = tuple[str, str, int, str | None]


class MailboxAllowlistQuerySet(models.QuerySet["Allowlist"]):
    def active_matches(
        self, mailbox_id: str, patterns: Iterable[str]
    ) -> list[ListMatch]:
        """The lists of a mailbox that are not switched off: for each list a row for
        each live entry among `patterns`, or one row with None if there is no such
        entry.

        Modes and entries are read in one statement, so that a list is never judged by
        the mode of one version and the entries of another. It finds entries by the
        unique index allowlist_pattern_once, and reads no others, however long the list
        is.
        """
        now = timezone.now()
        is_live = Q(entries__expires_at=None) | Q(entries__expires_at__gt=now)
        # No entry has the empty pattern. It is there because without any pattern Django
        # would find nothing to join, and would leave out the lists too.
        is_match = Q(is_live, entries__pattern__in=["", *patterns])
        return list(
            self.filter(mailbox=mailbox_id)
            .exclude(mode="off")
            .annotate(named=FilteredRelation("entries", condition=is_match))
            .values_list("kind", "mode", "version", "named__pattern")
        )


class MailRefusalQuerySet(models.QuerySet["Refusal"]):
    def visible_to(self, key: ApiKey) -> Self:
        """Refusals of the key's account, of its mailboxes and of mail that it may
        see.
        """
        return key.limited(self.filter(account_id=key.account_id, **key.mail_filter()))


class Allowlist(models.Model):
    """One list of one mailbox. A restriction refuses recipients who are not on it; mail
    to recipients on a bypass skips the review.
    """

    class Kind(models.TextChoices):
        RESTRICTION = "restriction"
        BYPASS = "bypass"

    class Mode(models.TextChoices):
        OFF = "off"
        MONITOR = "monitor"
        ENFORCE = "enforce"
        CONTACTS = "contacts"

    mailbox = models.ForeignKey(Mailbox, models.CASCADE, related_name="allowlists")
    kind = models.CharField(max_length=12, choices=Kind)
    mode = models.CharField(max_length=8, choices=Mode, default=Mode.OFF)
    # Raised by each change; a change based on an older version is refused.
    version = models.PositiveIntegerField(default=0)
    updated_at = models.DateTimeField(null=True)

    objects = MailboxAllowlistQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["mailbox", "kind"], name="allowlist_kind_once_a_mailbox"
            ),
            one_of("kind", ["restriction", "bypass"], "allowlist_kind_known"),
            one_of(
                "mode",
                ["off", "monitor", "enforce", "contacts"],
                "allowlist_mode_known",
            ),
            models.CheckConstraint(
                condition=~Q(kind="bypass", mode="contacts"),
                name="allowlist_contacts_only_restricts",
            ),
        ]


class AllowlistEntryQuerySet(models.QuerySet["AllowlistEntry"]):
    def live(self) -> Self:
        """Entries that have not expired."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))


class AllowlistEntry(UlidModel):
    """Who is on a list: `name@domain`, `domain`, or `*.domain` for subdomains."""

    allowlist = models.ForeignKey(Allowlist, models.CASCADE, related_name="entries")
    pattern = models.CharField(max_length=254)
    expires_at = models.DateTimeField(null=True)
    note = models.CharField(max_length=300)
    added_by_key = models.ForeignKey(ApiKey, models.RESTRICT, related_name="+")

    objects = AllowlistEntryQuerySet.as_manager()

    @property
    def expired(self) -> bool:
        """Whether it has no effect any more."""
        return self.expires_at is not None and self.expires_at <= timezone.now()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["allowlist", "pattern"], name="allowlist_pattern_once"
            )
        ]


class Refusal(UlidModel):
    """A message that was refused because of a recipient, before anything of it was
    stored. It has no body and no subject.
    """

    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    mailbox = models.ForeignKey(Mailbox, models.CASCADE, related_name="+")
    key = models.ForeignKey(ApiKey, models.RESTRICT, related_name="+")
    sandbox = models.BooleanField()
    recipients = ArrayField(models.CharField(max_length=254))
    refused = ArrayField(models.CharField(max_length=254))
    rule = models.CharField(max_length=300)
    metadata = models.JSONField(default=dict)

    objects = MailRefusalQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["account", "-id"], name="refusal_of_account")]


class MailContactQuerySet(models.QuerySet["Contact"]):
    """Queries of contacts. Live and sandbox keys share contacts, as they share
    mailboxes.
    """

    def visible_to(self, key: ApiKey) -> Self:
        """The account's contacts; for a key limited to mailboxes, those of its
        mailboxes and those without a mailbox.
        """
        contacts = self.filter(account_id=key.account_id)
        if key.mailbox_ids:
            contacts = contacts.filter(
                Q(mailbox=None) | Q(mailbox_id__in=key.mailbox_ids)
            )
        return contacts.select_related("mailbox")

    def used_by(self, mailbox: Mailbox) -> Self:
        """Contacts of one mailbox, and those without a mailbox."""
        return self.filter(Q(mailbox=None) | Q(mailbox=mailbox))

    def matching(self, text: str) -> Self:
        """Contacts whose name or address holds `text`, or that carry it as a tag."""
        return self.filter(
            Q(name__icontains=text)
            | Q(email__icontains=text)
            | Q(tags__contains=[text])
        )

    def known(self, account_id: str, addresses: Collection[str]) -> set[str]:
        """Return those of `addresses` that are contacts of the account which a key
        added that does not send.
        """
        rows = self.filter(
            account_id=account_id, email__in=map(comparable, addresses), by_sender=False
        )
        contacts = set(rows.values_list("email", flat=True))
        return {address for address in addresses if comparable(address) in contacts}


class SuppressionQuerySet(models.QuerySet["Suppression"]):
    def applying_to(self, key: ApiKey) -> Self:
        """The suppressions that mail of this key obeys, whichever mailbox they came
        from.

        Sandbox mail obeys none, and nothing bounces in the sandbox.
        """
        if key.sandbox:
            return self.none()
        return self.filter(account_id=key.account_id)

    def visible_to(self, key: ApiKey) -> Self:
        """The suppressions that the key may lift: for a key limited to mailboxes, those
        that came from its mailboxes.
        """
        return key.limited(self.applying_to(key))

    def among(self, addresses: Collection[str], account_id: str) -> dict[str, str]:
        """Return those of `addresses` to which the account sends nothing, with the
        reason; uses the index suppression_once_an_account.
        """
        rows = self.filter(
            account_id=account_id, email_address__in=map(comparable, addresses)
        )
        reasons = dict(rows.values_list("email_address", "reason"))
        return {
            address: reasons[comparable(address)]
            for address in addresses
            if comparable(address) in reasons
        }


class Contact(UlidModel):
    """Somebody the account knows. `email` is stored in the form in which addresses are
    compared: lower case, domain in ASCII.
    """

    account = models.ForeignKey(Account, models.CASCADE, related_name="contacts")
    mailbox = models.ForeignKey(Mailbox, models.CASCADE, null=True, related_name="+")
    name = models.CharField(max_length=200)
    email = models.CharField(max_length=254)
    tags = ArrayField(models.CharField(max_length=100), default=list)
    # Whether a key that sends added it. Then no restriction lets it through.
    by_sender = models.BooleanField(default=True)

    objects = MailContactQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "email"], name="contact_once_an_account"
            )
        ]


class Suppression(UlidModel):
    """An address that bounced, complained or unsubscribed: nothing is sent to it until
    somebody lifts the suppression.
    """

    class Reason(models.TextChoices):
        BOUNCE = "bounce"
        COMPLAINT = "complaint"
        UNSUBSCRIBED = "unsubscribed"

    account = models.ForeignKey(Account, models.CASCADE, related_name="suppressions")
    mailbox = models.ForeignKey(Mailbox, models.CASCADE, null=True, related_name="+")
    email_address = models.CharField(max_length=254)
    reason = models.CharField(max_length=12, choices=Reason)

    objects = SuppressionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "email_address"], name="suppression_once_an_account"
            ),
            one_of(
                "reason",
                ["bounce", "complaint", "unsubscribed"],
                "suppression_reason_known",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-id"], name="suppression_of_account")
        ]
