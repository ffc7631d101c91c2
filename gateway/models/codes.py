"""The tables of one-time codes, which a person gives out before a key may do an act,
and of the mail that the gateway itself sends to an account's oversight address: codes,
and copies of received mail.
"""

from __future__ import annotations

import hmac
from datetime import timedelta
from typing import Self, TypeVar

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.crypto import get_random_string

from common.encryption import EncryptedTextField
from common.postgres import one_of
from gateway.models.accounts import Account, ApiKey, Mailbox, UlidModel
from gateway.models.emails import OUTBOX_LEASE, Email
from gateway.states import Mode

Code = TypeVar("Code", bound="OneTimeCode")
LIFETIME = timedelta(hours=24)
# After this many wrong tries a code is void.
MAX_WRONG = 5
# Without characters that look alike: 0 and O, 1 and I and L.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"


def new_code() -> str:
    """Return a code such as A7X-29K."""
    characters = get_random_string(6, ALPHABET)
    return f"{characters[:3]}-{characters[3:]}"


def _plain(code: str) -> bytes:
    # Blanks and dashes do not count.
    typed = code.encode("ascii", "ignore").upper()
    return bytes(one for one in typed if chr(one) in ALPHABET)


class OneTimeCode(UlidModel):
    """A request with a code that works once, expires, and allows only a few wrong
    tries.
    """

    code = EncryptedTextField()
    requested_by_key = models.ForeignKey(ApiKey, models.RESTRICT, related_name="+")
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)
    wrong_attempts = models.PositiveIntegerField(default=0)

    class Meta:
        abstract = True

    def redeem(self, code: str) -> bool:
        """Return whether `code` is right, and store that: a right code is used up, a
        wrong one is counted. The caller holds the row's lock.

        Dashes, blanks and case do not matter. The comparison takes the same time
        wherever the first difference is.
        """
        if hmac.compare_digest(_plain(code), _plain(self.code)):
            self.save_fields(used_at=timezone.now())
            return True
        self.save_fields(wrong_attempts=self.wrong_attempts + 1)
        return False


class CodeQuerySet(models.QuerySet[Code]):
    """Requests that wait for their code."""

    def waiting(self) -> Self:
        """Requests whose code can still be used, newest first."""
        return self.filter(
            used_at=None, expires_at__gt=Now(), wrong_attempts__lt=MAX_WRONG
        ).order_by("-id")


class UpgradeRequestQuerySet(CodeQuerySet["UpgradeRequest"]):
    """Requests for a looser mode."""

    def visible_to(self, key: ApiKey) -> Self:
        """Requests for active mailboxes that the key may use."""
        return key.limited(
            self.filter(mailbox__account_id=key.account_id, mailbox__is_active=True)
        )

    def void(self, mailbox: Mailbox) -> None:
        """End the open requests of a mailbox, because a newer request or another mode
        replaces them.
        """
        self.waiting().filter(mailbox=mailbox).update(expires_at=Now())


class UpgradeRequest(OneTimeCode):
    """A request for a looser oversight mode; its code is shown to admins and used
    once.
    """

    mailbox = models.ForeignKey(
        Mailbox, models.CASCADE, related_name="upgrade_requests"
    )
    target_mode = models.CharField(max_length=12, choices=Mode)

    objects = UpgradeRequestQuerySet.as_manager()

    class Meta:
        constraints = [one_of("target_mode", Mode.values, "upgrade_mode_known")]
        indexes = [
            # The requests of a mailbox within the hour, and the newest one.
            models.Index(fields=["mailbox", "-created_at"], name="upgrade_of_mailbox")
        ]


class ApprovalRequest(OneTimeCode):
    """An administrative act that waits for its code."""

    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    action = models.CharField(max_length=40)
    # Hash of the requested act, so that the code confirms this act and no other.
    digest = models.CharField(max_length=64)
    summary = models.CharField(max_length=300)

    objects = CodeQuerySet["ApprovalRequest"].as_manager()

    class Meta:
        indexes = [
            models.Index(
                fields=["account", "action", "-created_at"], name="approval_of_account"
            )
        ]


class NoticeQuerySet(models.QuerySet["Notice"]):
    def may_be_sent(self) -> Self:
        """Notices of active accounts and mailboxes. While an account holds everything,
        its codes are sent, and received messages are not forwarded.
        """
        held = Q(received__isnull=False) & (
            Q(account__hold_all_at__isnull=False)
            | Q(received__mailbox__is_active=False)
        )
        return self.filter(account__is_active=True).exclude(held)

    def due(self) -> Self:
        """Notices that should be tried now."""
        return self.may_be_sent().filter(due_at__lte=Now())

    def claim(self, pk: str) -> Notice | None:
        """Take a notice for one attempt. Returns None if it is not due or another
        worker has it.
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

    It is not an Email, because API keys can read those, and only the recipient may see
    a code.
    """

    account = models.ForeignKey(Account, models.CASCADE, related_name="+")
    to = models.CharField(max_length=254)
    # Exactly one of the two is set. Unique, so that each is sent once.
    approval = models.OneToOneField(
        ApprovalRequest, models.CASCADE, null=True, related_name="+"
    )
    received = models.OneToOneField(Email, models.CASCADE, null=True, related_name="+")
    # Null once its bytes were offered to the mail server: without an answer nobody
    # knows whether it has them, so it is not sent again.
    due_at = models.DateTimeField(null=True, db_default=Now())
    attempts = models.PositiveIntegerField(default=0)
    sent_at = models.DateTimeField(null=True)
    last_error = models.TextField()

    objects = NoticeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(approval__isnull=True, received__isnull=False)
                | Q(approval__isnull=False, received__isnull=True),
                name="notice_of_one_thing",
            )
        ]
        indexes = [
            models.Index(
                fields=["due_at"], condition=Q(due_at__isnull=False), name="notice_due"
            )
        ]
