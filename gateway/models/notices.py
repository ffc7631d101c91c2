"""Mail that the gateway itself sends to an account's oversight address."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from gateway.models.accounts import Account, UlidModel
from gateway.models.codes import ApprovalRequest
from gateway.models.emails import OUTBOX_LEASE, Email


class NoticeQuerySet(models.QuerySet["Notice"]):
    """Which notices may be sent."""

    def may_leave(self) -> Self:
        """Not of closed accounts and mailboxes. While `hold_all` is on, codes leave,
        and received mail does not.
        """
        held = Q(received__isnull=False) & (
            Q(account__hold_all_at__isnull=False)
            | Q(received__mailbox__is_active=False)
        )
        return self.filter(account__is_active=True).exclude(held)

    def due(self) -> Self:
        """Those to be tried now."""
        return self.may_leave().filter(due_at__lte=Now())

    def claim(self, pk: str) -> Notice | None:
        """Take a notice for one attempt, or None when it is not due or another worker
        has it.
        """
        claimed = (
            self.due()
            .filter(pk=pk)
            .update(attempts=F("attempts") + 1, due_at=Now() + OUTBOX_LEASE)
        )
        if not claimed:
            return None
        return self.select_related(
            "account",
            "approval__account",
            "approval__requested_by_key",
            "received__mailbox",
        ).get(pk=pk)


class Notice(UlidModel):
    """One mail to the oversight address: an approval code, or a copy of a received
    message.

    It is no Email, because keys can read those: nobody but the recipient may see a
    code.
    """

    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    to = models.CharField(max_length=254)
    # Exactly one of the two. Unique: each is sent once.
    approval = models.OneToOneField(
        ApprovalRequest, models.CASCADE, null=True, related_name="+"
    )
    received = models.OneToOneField(Email, models.CASCADE, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    # None once its bytes were offered to the mail server: without an answer nobody
    # knows whether it has them, so it is not sent again.
    due_at = models.DateTimeField(null=True, db_default=Now())
    attempts = models.PositiveIntegerField(default=0)
    sent_at = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True)

    objects = NoticeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(approval__isnull=True, received__isnull=False)
                | Q(approval__isnull=False, received__isnull=True),
                name="notice_of_one_thing",
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"], condition=Q(due_at__isnull=False), name="notice_due"
            ),
        ]

    def __str__(self) -> str:
        return self.pk
