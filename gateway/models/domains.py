"""Domains that an account may make mailboxes under, and the keys that sign their mail."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from common.encryption import EncryptedTextField
from gateway.models.accounts import Account, ApiKey, UlidModel


class DomainQuerySet(models.QuerySet["Domain"]):
    """Queries of domains."""

    def visible_to(self, key: ApiKey) -> Self:
        """Those of the key's account, oldest first."""
        return self.filter(account_id=key.account_id).order_by("id")

    def active(self) -> Self:
        """Verified ones."""
        return self.filter(status="active")

    def oldest_of(self, account: Account) -> str:
        """The name of the account's oldest active domain, or nothing where it has none."""
        mine = self.active().filter(account=account).order_by("id")
        return mine.values_list("domain", flat=True).first() or ""


class Domain(UlidModel):
    """A domain, once its owner has proved to be the account (by DNS) or the operator
    has said so.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        ACTIVE = "active"

    account = models.ForeignKey(Account, models.CASCADE, related_name="domains")
    domain = models.CharField(max_length=253)
    status = models.CharField(max_length=8, choices=Status, default=Status.PENDING)
    # What the owner puts into DNS.
    token = models.CharField(max_length=64)
    # The error of each record by its key (domains/dns_records.py), from the last
    # look-up in DNS; empty: none.
    dns_problems = models.JSONField(default=dict)
    looked_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    verified_at = models.DateTimeField(null=True)

    objects = DomainQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "domain"], name="domain_once_an_account"
            ),
            # Two accounts may claim a domain; only one can have it.
            models.UniqueConstraint(
                fields=["domain"],
                condition=Q(status="active"),
                name="domain_active_once",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["pending", "active"]),
                name="domain_status_known",
            ),
        ]

    def __str__(self) -> str:
        return self.domain

    def is_right(self, key: str) -> bool:
        """Whether DNS had the record of this key when it was last asked."""
        return bool(self.dns_problems.get(key) == "")


class DkimKey(models.Model):
    """A key that signs a domain's mail from when DNS is seen to have it until another
    one takes over.
    """

    domain = models.ForeignKey(Domain, models.CASCADE, related_name="dkim_keys")
    selector = models.CharField(max_length=63)
    private_key = EncryptedTextField()
    # As it stands in DNS: base64 of its DER form.
    public_key = models.TextField()
    created_at = models.DateTimeField(db_default=Now())
    verified_at = models.DateTimeField(null=True)
    retired_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["domain", "selector"], name="dkim_selector_once"
            )
        ]

    def __str__(self) -> str:
        return self.selector
