"""Commands that approve, reject and cancel messages. The first decision wins; a later
one gets 409 with the first one's result.

Also cancels what waits in a closed mailbox or account. From the moment of closing
nothing of it is sent, so cancelling can take its time: the caller cancels the first
emails, the sweep the rest, each in a transaction of its own.
"""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from common.endings import EndedBy
from common.postgres import clock
from common.unique_keys import Json
from gateway import auditing, notices, tasks
from gateway.errors import Conflict, Forbidden, Invalid
from gateway.lookups import email_named
from gateway.messages.content import additions_of, fingerprint_of
from gateway.messages.submission import recheck
from gateway.models import ApiKey, Email, EmailQuerySet, Mailbox, Suppression
from gateway.states import (
    AWAITING_DECISION,
    Change,
    Decision,
    Direction,
    Mode,
    Status,
    allows,
)
from gateway.timestamps import iso
from gateway.webhooks import events

# How many emails one call of `cancel_in_closed_mailboxes` cancels.
BATCH = 200


def decide_email(
    key: ApiKey,
    email_id: str,
    *,
    outcome: str,
    reason: str,
    expected_fingerprint: str,
    decided_by: str = "",
    ended_by: str = EndedBy.ELSEWHERE,
    feedback: Json | None = None,
    pressed_at: datetime | None = None,
    leave_by: datetime | None = None,
) -> Email:
    """Approve or reject one held email, with the content that it has now.

    `decided_by` is the person who decided, as the key's owner names them; without it
    the key's name is stored. `ended_by` says whose act it was; after `expiry` it is
    nobody's, and no name is stored. `feedback` is data for the agent beside the reason.
    `pressed_at` is when the person decided, if that was before the call. After
    `leave_by`, and after its expiry, an approved email is not sent any more. The
    row is locked while its fingerprint is compared with `expected_fingerprint`, so that
    what was compared is what is approved; approving also fixes the mailbox's additions.
    Raises NotFound, Forbidden, Invalid if a required fingerprint is missing, or
    Conflict with what became of the email.
    """
    approves = outcome == Decision.APPROVED
    with transaction.atomic():
        email = email_named(key, email_id, lock=True)
        now = clock()
        pressed_at = min(now, pressed_at or now)
        _check_may_decide(key, email, outcome)
        current_fingerprint = fingerprint_of(email)
        required_by = ""
        if email.mailbox.require_fingerprint:
            required_by = "mailbox"
        elif email.account.require_fingerprint:
            required_by = "account"
        if required_by and not expected_fingerprint:
            raise Invalid(
                f"expected_fingerprint: is missing, and this {required_by} requires it of every decision. Nothing was "
                "decided.",
                code="fingerprint_required",
                hint="Send the `fingerprint` of the message as GET /v1/oversight/pending shows it to the reviewer.",
            )
        if expected_fingerprint not in ("", current_fingerprint):
            raise email.conflict(
                "The message has changed since it was read: its content or what the mailbox adds is different.",
                code="content_changed",
                fingerprint=current_fingerprint,
            )
        if approves:
            _check_may_approve(email, now, pressed_at)
        fields = {
            "decision": outcome,
            "decision_reason": reason,
            "decided_at": now,
            "pressed_at": pressed_at,
            "leave_by": min(filter(None, (leave_by, email.expires_at)), default=None),
            "decided_by": "" if ended_by == EndedBy.EXPIRY else decided_by or key.name,
            "ended_by": ended_by,
            "decided_by_key": key,
            "feedback": feedback or {},
        }
        waits_for_time = email.send_at and email.send_at > now
        if approves and email.direction == Direction.INBOUND:
            fields["readable_at"] = Now()
        elif approves:
            fields["additions"] = additions_of(email)
            fields["due_at"] = email.send_at if waits_for_time else Now()
        if not Email.objects.move(
            email, Change.APPROVE if approves else Change.REJECT, **fields
        ):
            raise Conflict(
                "Somebody else decided this message at the same time.",
                code="not_pending",
            )
        auditing.record(
            f"email.{outcome}",
            email,
            key,
            fingerprint=current_fingerprint,
            reason=reason,
            decided_by=email.decided_by or None,
            ended_by=ended_by,
        )
        events.announce(email, events.APPROVED if approves else events.REJECTED, at=now)
        if email.status == Status.UNREAD:
            # Received mail can be read from now on, so only now is it announced.
            events.announce(email, events.RECEIVED, at=now)
            notices.forward(email)
        if email.status == Status.SCHEDULED and not waits_for_time:
            tasks.send_email.delay_on_commit(email.pk)
    return email


@transaction.atomic
def set_expiry(key: ApiKey, email_id: str, expires_at: datetime | None) -> Email:
    """Set until when a held email may be approved; None: without end.

    Raises NotFound, Forbidden, or Conflict with what became of the email if it is not
    held any more.
    """
    email = email_named(key, email_id, lock=True)
    _check_may_decide(key, email, "")
    if email.expires_at != expires_at:
        before = email.expires_at
        email.save_fields(expires_at=expires_at)
        auditing.record(
            "email.expiry_set", email, key, before=iso(before), after=iso(expires_at)
        )
    return email


def cancel_email(key: ApiKey, email: Email) -> Email:
    """Cancel an email that was not sent and is not about to be; doing it twice is no
    error. Raises Conflict.
    """
    if take_back(key, email, among=Email.objects.not_leaving()):
        return email
    email.refresh_from_db()
    if email.status == Status.CANCELLED:
        return email
    sentence = f"This message cannot be cancelled: it is {email.status}."
    if email.status == Status.SCHEDULED:
        sentence = "This message is being sent."
    raise email.conflict(sentence, code="not_cancellable")


def take_back(
    key: ApiKey | None, email: Email, *, among: EmailQuerySet, **because: Any
) -> bool:
    """Cancel an email that no worker has claimed. Returns False if its state does not
    allow it, or if another process was faster.

    Only an email in `among` is cancelled. `because` goes into the audit log.
    """
    with transaction.atomic():
        # A worker that claimed the row may be sending it at this moment.
        if not allows(email.status, Change.CANCEL) or not among.unclaimed().move(
            email, Change.CANCEL, due_at=None
        ):
            return False
        auditing.record("email.cancelled", email, key, **because)
        events.announce(email, events.CANCELLED)
    return True


def _check_may_decide(key: ApiKey, email: Email, outcome: str) -> None:
    # Raises Conflict or Forbidden if the key cannot decide so about this email now.
    if email.status not in AWAITING_DECISION:
        sentence = f"This message is not waiting for a decision: it is {email.status}."
        if email.ended_by == EndedBy.EXPIRY:
            sentence = "This message has expired: nobody decided it in time."
        elif email.decision:
            sentence = (
                f"This message was already {email.decision} by {email.decided_by}."
            )
        raise email.conflict(sentence, code="not_pending")
    if not email.mailbox.is_active:
        raise email.conflict(
            "The mailbox was deleted, so this message is being cancelled.",
            code="mailbox_deleted",
        )
    if email.sent_by_key_id == key.pk:
        raise Forbidden(
            "The key that sent a message cannot decide it.", code="own_message"
        )
    if (
        email.direction == Direction.OUTBOUND
        and outcome == Decision.APPROVED
        and email.mailbox.oversight_mode == Mode.READ_ONLY
    ):
        raise email.conflict(
            "The mailbox is now read_only: it cannot send.", code="read_only"
        )


def _check_may_approve(email: Email, now: datetime, pressed_at: datetime) -> None:
    """Raise Conflict if the email has expired, or will have before its time, by the
    database's clock; if all mail was held after the person approved it; or if it would
    not be accepted now: lists or additions have changed, or a recipient has
    unsubscribed. Rejecting is always possible.
    """
    leaves_at = max(now, email.send_at or now)
    if email.expires_at and email.expires_at <= leaves_at:
        raise email.conflict(
            f"This message expires at {iso(email.expires_at)}, before it could leave. Nothing was decided.",
            code="approval_expired",
            hint="Reject the message, or extend its expiry first.",
            expires_at=iso(email.expires_at),
        )
    if email.direction == Direction.INBOUND:
        return
    held_at = email.account.hold_all_at
    if held_at and pressed_at <= held_at:
        raise email.conflict(
            f"All mail is held since {iso(held_at)}, after this was approved. Nothing was decided.",
            code="held_since",
            hint="Approve it again.",
        )
    refusal, _ = recheck(email)
    if refusal:
        raise email.conflict(
            f"{refusal} Nothing was decided.",
            code="recipient_not_allowed",
            hint="Change the mailbox's list or what it adds, or reject the message.",
        )
    unsubscribed = Suppression.objects.filter(reason=Suppression.Reason.UNSUBSCRIBED)
    has_unsubscribed = unsubscribed.among(email.addressees(), email.account_id)
    if has_unsubscribed and not email.sandbox:
        raise email.conflict(
            f"{next(iter(has_unsubscribed))} unsubscribed from this account's mail. Nothing was decided.",
            code="recipient_unsubscribed",
            hint="Reject the message.",
        )


def cancel_in_closed_mailboxes(key: ApiKey | None = None) -> int:
    """Cancel emails that wait in closed mailboxes, of the key's account or of all, up
    to BATCH of them. Returns how many were cancelled.
    """
    mailboxes = Mailbox.objects.closed()
    if key:
        mailboxes = mailboxes.filter(account_id=key.account_id)
    closed = list(mailboxes.values_list("pk", flat=True))
    if not closed:
        return 0
    return sum(
        take_back(key, email, among=Email.objects.all(), because="closed")
        for email in Email.objects.waiting_in(closed).with_mailbox()[:BATCH]
    )
