"""Queries of keys and mailboxes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from gateway.querysets.plain import build, columns, rows

if TYPE_CHECKING:
    from gateway.models import ApiKey, Mailbox


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    """Looking up credentials."""

    def by_hash(self, sha256: str) -> ApiKey | None:
        """Return the key, with its account, also when it is revoked; by the unique index of its hash."""
        from gateway.models import Account, ApiKey  # models import this module

        sql = (
            f"SELECT {columns(ApiKey, 'key')}, {columns(Account, 'account')} FROM gateway_apikey AS key"  # noqa: S608
            " JOIN gateway_account AS account ON account.id = key.account_id WHERE key.sha256 = %s"
        )
        for row in rows(sql, [sha256]):
            width = len(ApiKey._meta.concrete_fields)
            key = build(ApiKey, row[:width])
            key.account = build(Account, row[width:])
            return key
        return None

    def used(self, key: ApiKey) -> None:
        """Note the use, at most once a minute, so that reading does not mean writing."""
        self.filter(pk=key.pk).filter(Q(last_used_at=None) | Q(last_used_at__lt=Now() - timedelta(minutes=1))).update(
            last_used_at=Now()
        )

    def kept_by(self, key: ApiKey) -> Self:
        """The keys that `key` may look after: none that reaches further than itself."""
        keys = self.filter(account_id=key.account_id)
        if key.sandbox:
            keys = keys.filter(sandbox=True)
        if key.mailbox_ids:
            keys = keys.filter(mailbox_ids__contained_by=key.mailbox_ids).exclude(mailbox_ids=[])
        return keys

    def administering(self) -> Self:
        """Keys that can look after a whole account."""
        return self.filter(scopes__contains=["admin"], mailbox_ids=[], sandbox=False, revoked_at=None)


class AccountMailboxQuerySet(models.QuerySet["Mailbox"]):
    """Mailboxes as a key sees them."""

    def visible_to(self, key: ApiKey) -> Self:
        """The live mailboxes of the key's account that the key is not limited away from."""
        mine = self.filter(account_id=key.account_id, is_active=True)
        return mine.filter(pk__in=key.mailbox_ids) if key.mailbox_ids else mine

    def closed(self) -> Self:
        """Deleted ones, and those of deleted accounts."""
        return self.filter(Q(is_active=False) | Q(account__is_active=False))

    def named(self, name: str, *, key: ApiKey) -> Mailbox | None:
        """The mailbox with this id or address, if it is among those visible to `key`; both have unique indexes."""
        from gateway.models import Mailbox  # models import this module

        column, value = ("address", name.strip().lower()) if "@" in name else ("id", name)
        sql = (
            f"SELECT {columns(Mailbox, 'mailbox')} FROM gateway_mailbox AS mailbox"  # noqa: S608
            f" WHERE {column} = %s AND account_id = %s AND is_active"
        )
        for row in rows(sql, [value, key.account_id]):
            mailbox = build(Mailbox, row)
            # Known already: no query of its own.
            mailbox.account = key.account
            return mailbox if not key.mailbox_ids or mailbox.pk in key.mailbox_ids else None
        return None
