"""Queries of allowlists and of what they refused."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from django.db import connection, models
from django.db.models import F

if TYPE_CHECKING:
    from gateway.models import Allowlist, ApiKey, Refusal  # noqa: F401

# Kind, mode and version of a list, and an entry of it or None.
Standing = tuple[str, str, int, str | None]


class MailboxAllowlistQuerySet(models.QuerySet["Allowlist"]):
    """Lists of mailboxes."""

    def standing(self, *, mailbox_id: str, patterns: Iterable[str], now: datetime) -> list[Standing]:
        """The lists of a mailbox that are not switched off: a row each, or one for each live entry among `patterns`.

        One statement, so that a list is never judged by the mode of one version and the entries of another. It finds
        entries by the unique index allowlist_pattern_once and reads no others, however long the list is. Every letter
        asks this, and Django took a millisecond to write the same join.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT list.kind, list.mode, list.version, entry.pattern FROM gateway_allowlist AS list"
                " LEFT JOIN gateway_allowlistentry AS entry ON entry.allowlist_id = list.id"
                " AND entry.pattern = ANY(%s) AND (entry.expires_at IS NULL OR entry.expires_at > %s)"
                " WHERE list.mailbox_id = %s AND list.mode <> 'off'",
                [list(patterns), now, mailbox_id],
            )
            rows: list[Standing] = cursor.fetchall()
        return rows

    def raise_version(self, *, mailbox_id: str, kind: str, version: int, **fields: Any) -> bool:
        """Make the next version out of `version`, by compare-and-set; False when the list is at another one."""
        mine = self.filter(mailbox_id=mailbox_id, kind=kind, version=version)
        return bool(mine.update(version=F("version") + 1, **fields))


class MailRefusalQuerySet(models.QuerySet["Refusal"]):
    """What restrictions kept out."""

    def visible_to(self, key: ApiKey) -> Self:
        """Of the key's account, its mailboxes and the mail that it knows of; newest first."""
        mine = self.filter(account_id=key.account_id, **key.mail_filter()).order_by("-id")
        return mine.filter(mailbox_id__in=key.mailbox_ids) if key.mailbox_ids else mine
