"""Queries of keys and mailboxes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

if TYPE_CHECKING:
    from gateway.models import ApiKey, Mailbox  # noqa: F401


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    """Looking up credentials."""

    def by_hash(self, sha256: str) -> ApiKey | None:
        """Return the key, with its account, also when it is revoked."""
        return self.select_related("account").filter(sha256=sha256).first()

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

    def named(self, name: str) -> Self:
        """The mailbox with this id or address."""
        return self.filter(address=name.strip().lower()) if "@" in name else self.filter(pk=name)
