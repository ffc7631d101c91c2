"""Queries of allowlists and of what they refused."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from django.db import models
from django.db.models import F, FilteredRelation, Q

if TYPE_CHECKING:
    from gateway.models import Allowlist, ApiKey, Refusal  # noqa: F401


class MailboxAllowlistQuerySet(models.QuerySet["Allowlist"]):
    """Lists of mailboxes."""

    def in_force(self, *, mailbox_id: str) -> Self:
        """The lists of a mailbox that are not switched off."""
        return self.filter(mailbox_id=mailbox_id).exclude(mode="off")

    def with_live(self, patterns: Iterable[str], *, now: datetime) -> Any:
        """Kind, mode, version, and each of `patterns` that the list holds and that has not expired (or None).

        One statement, so that a list is never judged by the mode of one version and the entries of another. It finds
        entries by the unique index allowlist_pattern_once and reads no others, however long the list is.
        """
        live = Q(entries__expires_at=None) | Q(entries__expires_at__gt=now)
        named = FilteredRelation("entries", condition=Q(entries__pattern__in=list(patterns)) & live)
        return self.annotate(named=named).values_list("kind", "mode", "version", "named__pattern")

    def raise_version(self, *, mailbox_id: str, kind: str, version: int, **fields: Any) -> bool:
        """Make the next version out of `version`, by compare-and-set; False when the list is at another one."""
        mine = self.filter(mailbox_id=mailbox_id, kind=kind, version=version)
        return bool(mine.update(version=F("version") + 1, **fields))


class MailRefusalQuerySet(models.QuerySet["Refusal"]):
    """What restrictions kept out."""

    def visible_to(self, key: ApiKey) -> Self:
        """Of the key's account and mailboxes, sandbox or live as the key is; newest first."""
        mine = self.filter(account_id=key.account_id, sandbox=key.sandbox).order_by("-id")
        return mine.filter(mailbox_id__in=key.mailbox_ids) if key.mailbox_ids else mine
