"""Queries of what waits for a one-time code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.db import models
from django.db.models.functions import Now

from gateway.codes import MAX_WRONG

if TYPE_CHECKING:
    from gateway.models import ApiKey, ApprovalRequest, Mailbox, UpgradeRequest  # noqa: F401


def _open() -> dict[str, Any]:
    return {"used_at": None, "expires_at__gt": Now(), "wrong_attempts__lt": MAX_WRONG}


class UpgradeRequestQuerySet(models.QuerySet["UpgradeRequest"]):
    """Wishes for a looser mode."""

    def waiting(self) -> Self:
        """Those whose code can still be used, newest first."""
        return self.filter(**_open()).order_by("-id")

    def visible_to(self, key: ApiKey) -> Self:
        """Those of live mailboxes that the key may see."""
        mine = self.filter(mailbox__account_id=key.account_id, mailbox__is_active=True)
        return mine.filter(mailbox_id__in=key.mailbox_ids) if key.mailbox_ids else mine

    def void(self, mailbox: Mailbox) -> None:
        """End what waits: a newer wish, or another mode, has overtaken it."""
        self.waiting().filter(mailbox=mailbox).update(expires_at=Now())


class ApprovalRequestQuerySet(models.QuerySet["ApprovalRequest"]):
    """Administrative acts that wait for their code."""

    def waiting(self) -> Self:
        """Those whose code can still be used, newest first."""
        return self.filter(**_open()).order_by("-id")
