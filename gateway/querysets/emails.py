"""Queries of emails and of what was sent already, and the one way to change a status."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from django.db import connection, models
from django.db.models import Count, Exists, F, OuterRef, Prefetch, Q, Sum
from django.db.models.functions import Now, TruncDate

from gateway.modes import Mode
from gateway.states import (
    AWAITING_DECISION,
    NOT_LET_IN,
    PUT_AWAY,
    Change,
    Decision,
    Direction,
    Status,
    next_state,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.letters import File
    from gateway.models import Account, ApiKey, Attachment, Email, IdempotencyRecord  # noqa: F401

# Longer than the longest attempt (smtp.py bounds each of its steps), so that only a dead worker loses its lease.
OUTBOX_LEASE = timedelta(seconds=150)
_MOMENT = timedelta(seconds=30)
# Live mail that was sent or may be: what a quota counts.
CHARGED = Q(direction=Direction.OUTBOUND, sandbox=False) & ~Q(status__in=(Status.REJECTED, Status.CANCELLED))


class EmailQuerySet(models.QuerySet["Email"]):
    """Reads of emails, and the one way to change a status."""

    def visible_to(self, key: ApiKey) -> Self:
        """What this key may know of: its account, its mailboxes, and live mail.

        A sandbox key knows of sandbox mail alone, and a live one that sees what waits knows of both.
        """
        mine = self.filter(account_id=key.account_id, **key.mail_filter())
        return mine.filter(mailbox_id__in=key.mailbox_ids) if key.mailbox_ids else mine

    def awaiting_decision(self) -> Self:
        """Held mail of both directions, oldest first; relies on the partial index email_awaiting_decision."""
        return self.filter(status__in=AWAITING_DECISION).order_by("id")

    def received(self) -> Self:
        """Inbound mail only."""
        return self.filter(direction=Direction.INBOUND)

    def readable_by(self, key: ApiKey) -> Self:
        """Without received mail that nobody has let in, unless the key may see what waits."""
        return self if key.sees_held() else self.exclude(direction=Direction.INBOUND, status__in=NOT_LET_IN)

    def in_sight(self) -> Self:
        """Without what is only shown when it is asked for."""
        return self.exclude(status__in=PUT_AWAY)

    def in_thread(self, thread_id: str) -> Self:
        """One conversation, newest first; relies on the index email_of_thread."""
        return self.filter(thread_id=thread_id).order_by("-id")

    def charged_to(self, account: Account, *, since: datetime) -> Self:
        """What counts against an account's limits; relies on the index email_charged."""
        return self.filter(CHARGED, account=account, created_at__gte=since)

    def by_day(self, moment: str, begin: datetime, end: datetime) -> list[tuple[date, int]]:
        """How many have their `moment` (a column) on each day (UTC) of a period; relies on an index of that column."""
        some = self.filter(**{f"{moment}__gte": begin, f"{moment}__lt": end})
        days = some.annotate(day=TruncDate(moment, tzinfo=UTC)).order_by("day").values_list("day")
        return list(days.annotate(number=Count("pk")))

    def with_mailbox(self) -> Self:
        """Loads the mailbox and account along, which every answer and event names."""
        return self.select_related("mailbox", "account")

    def with_key(self) -> Self:
        """Loads the key that composed it along, which a pending row names."""
        return self.select_related("sent_by_key")

    def with_attachments(self) -> Self:
        """Loads what there is to know of attachments, without their bytes, in one query for all rows."""
        from gateway.models import Attachment  # models import this module

        return self.prefetch_related(Prefetch("attachments", Attachment.objects.defer("content").order_by("id")))

    def move(self, email: Email, change: Change, **fields: Any) -> bool:
        """Change the status by compare-and-set, together with `fields`; False when the row has moved on meanwhile.

        The queryset's own filters are part of the comparison. Raises InvalidTransition where the table has no way.
        """
        target = next_state(email.status, change)
        if not self.filter(pk=email.pk, status=email.status).update(status=target, **fields):
            return False
        email.status = target
        for name, value in fields.items():
            if not hasattr(value, "resolve_expression"):
                setattr(email, name, value)
        return True

    def left_unscanned(self) -> Self:
        """Accepted, but the request ended before they moved on."""
        return self.filter(status=Status.PENDING_SCAN, created_at__lt=Now() - timedelta(seconds=5)).order_by(
            "created_at"
        )

    def in_outbox(self) -> Self:
        """Due, and in nobody's hands, or in those of a worker that died before it offered the message.

        Not what is kept back although it is approved: until that ends nobody can do anything with it.
        """
        due = self.filter(status=Status.SCHEDULED, due_at__lte=Now()).not_in_hands()
        return due.filter(~_kept_back(), ~_closed())

    def lost(self) -> Self:
        """The worker died after it began to offer the message: nobody knows whether the server has it."""
        return self.filter(status=Status.SCHEDULED, data_attempted_at__isnull=False, lease_until__lt=Now())

    def claim(self, pk: str) -> Email | None:
        """Take one email out of the outbox for one attempt, or None when it is not due or somebody has it."""
        taken = self.in_outbox().filter(pk=pk).update(attempts=F("attempts") + 1, lease_until=Now() + OUTBOX_LEASE)
        return self.with_mailbox().get(pk=pk) if taken else None

    def put_off(self, pk: str, *, seconds: float) -> bool:
        """Make a live email due later without an attempt; False when it is not due now."""
        live = self.in_outbox().filter(pk=pk, sandbox=False)
        return bool(live.update(due_at=Now() + timedelta(seconds=seconds)))

    def held_by(self, email: Email) -> Self:
        """The row, if `email`'s attempt holds the lease: its number fences a worker that wakes up late."""
        return self.filter(pk=email.pk, status=Status.SCHEDULED, attempts=email.attempts, lease_until__gt=Now())

    def written_off(self, email: Email) -> Self:
        """The row, if `email`'s attempt was taken for lost while it was still waiting for the mail server."""
        return self.filter(pk=email.pk, status=Status.SENT, fate_unknown=True, attempts=email.attempts)

    def may_leave(self) -> Self:
        """Not gated or approved, under `hold_all` approved since; and the mailbox is neither closed nor read_only.

        Subqueries and no joins: an update by this must compare each row again when it has waited for its lock.
        """
        ungated = Q(gated=False) & ~_held_account()
        approved = Q(decision=Decision.APPROVED) & ~_approved_before_hold()
        return self.filter(ungated | approved, ~_closed(), ~_read_only())

    def attached_bytes(self, *, account_id: str) -> int:
        """The size of all files of an account."""
        return self.filter(account_id=account_id, has_attachments=True).aggregate(n=Sum("attachments__size"))["n"] or 0

    def left_behind(self, closed: list[str]) -> Self:
        """What waits in mailboxes that are closed.

        In no order: with one, PostgreSQL would walk all emails by their ids; so it takes the partial indexes.
        """
        waiting = Q(status__in=AWAITING_DECISION) | Q(status=Status.SCHEDULED) | Q(status=Status.PENDING_SCAN)
        return self.filter(waiting, mailbox_id__in=closed).not_in_hands()

    def editable_as(self, email: Email) -> Self:
        """The row, if it still waits for its time, in nobody's hands, as `email` was read."""
        same = {name: getattr(email, name) for name in ("to", "cc", "bcc", "send_at", "gated", "decision")}
        return self.not_in_hands().filter(pk=email.pk, status=Status.SCHEDULED, **same)

    def not_leaving(self) -> Self:
        """Not just released or approved to leave at once.

        Whoever approves is told that it leaves. Within the moment that a worker needs to take it up nobody else is told
        that it was cancelled; what stays longer, or was put off by the mail server, can be taken back again.
        """
        just_due = Q(status=Status.SCHEDULED, attempts=0, due_at__lte=Now(), due_at__gt=Now() - _MOMENT)
        return self.exclude(just_due & ~_kept_back())

    def not_in_hands(self) -> Self:
        """No worker is about to send it, nor may have sent it."""
        return self.filter(data_attempted_at=None).filter(Q(lease_until=None) | Q(lease_until__lt=Now()))


def _held_account() -> Exists:
    from gateway.models import Account  # models import this module

    return Exists(Account.objects.filter(pk=OuterRef("account_id"), hold_all_at__isnull=False))


def _approved_before_hold() -> Exists:
    from gateway.models import Account  # models import this module

    return Exists(Account.objects.filter(pk=OuterRef("account_id"), hold_all_at__gte=OuterRef("decided_at")))


def _read_only() -> Exists:
    from gateway.models import Mailbox  # models import this module

    return Exists(Mailbox.objects.filter(pk=OuterRef("mailbox_id"), oversight_mode=Mode.READ_ONLY))


def _kept_back() -> Q:
    """Approved, and still not to leave: the account was held since, or the mailbox is read_only by now."""
    return Q(decision=Decision.APPROVED) & (Q(_approved_before_hold()) | Q(_read_only()))


def _closed() -> Q:
    from gateway.models import Account, Mailbox  # models import this module

    account = Account.objects.filter(pk=OuterRef("account_id"), is_active=False)
    mailbox = Mailbox.objects.filter(pk=OuterRef("mailbox_id"), is_active=False)
    return Q(Exists(account)) | Q(Exists(mailbox))


class AttachmentQuerySet(models.QuerySet["Attachment"]):
    """Attached files."""

    def attach(self, email: Email, files: Sequence[File]) -> None:
        """Store the files of an email, sent or received."""
        self.bulk_create(
            self.model(
                email=email,
                name=file.name,
                content_type=file.content_type,
                size=len(file.content),
                sha256=file.sha256,
                content=file.content,
            )
            for file in files
        )


class IdempotencyQuerySet(models.QuerySet["IdempotencyRecord"]):
    """Who comes first with a key."""

    def remember(self, **row: Any) -> bool:
        """Store the record, or take over an expired one; False when a live one exists.

        One statement on the unique index: a second request with the same key waits here until the first has ended,
        and then sees its record.
        """
        columns = ("mailbox_id", "sandbox", "operation", "key", "email_id", "digest")
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO gateway_idempotencyrecord AS old"
                " (mailbox_id, sandbox, operation, key, email_id, digest, expires_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, statement_timestamp() + %s)"
                " ON CONFLICT (mailbox_id, sandbox, operation, key) DO UPDATE"
                " SET email_id = excluded.email_id, digest = excluded.digest, expires_at = excluded.expires_at"
                " WHERE old.expires_at <= statement_timestamp()",
                [*(row[name] for name in columns), row["lasts"]],
            )
            return bool(cursor.rowcount)

    def live(self) -> Self:
        """Records that still count."""
        return self.filter(expires_at__gt=Now())

    def expired(self) -> Self:
        """Records whose time is over."""
        return self.filter(expires_at__lt=Now())
