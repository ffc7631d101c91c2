"""Queries of the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Q

if TYPE_CHECKING:
    from gateway.models import ApiKey, AuditLogEntry  # noqa: F401


class AuditLogQuerySet(models.QuerySet["AuditLogEntry"]):
    """What was done with which key."""

    def visible_to(self, key: ApiKey) -> Self:
        """The account's, newest first; to a key that is limited to mailboxes only what is about these.

        A sandbox key sees what sandbox keys did.
        """
        mine = self.filter(account_id=key.account_id).order_by("-id")
        mine = mine.filter(actor_key__sandbox=True) if key.sandbox else mine
        if not key.mailbox_ids:
            return mine
        themselves = Q(resource_type="mailbox", resource_id__in=key.mailbox_ids)
        return mine.filter(themselves | Q(metadata__mailbox_id__in=key.mailbox_ids))
