"""Sends what is due: one attempt under a lease, in several short transactions, none
open while the mail server talks.

A crash at any point neither loses an email nor sends it twice: before the checkpoint
(data_attempted_at) an attempt can be repeated, after it only the server's answer
counts. Without that answer the email is `sent` with fate_unknown. After a restore
(`hold_back`) nothing leaves that may have left since the backup was made, and nothing
without a person.
"""

import logging
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from common.smtp import Server
from gateway import auditing, smtp, suppression
from gateway.dkim import signed
from gateway.messages import content, submission
from gateway.messages.admission import recheck
from gateway.messages.content import (
    additions_of,
    envelope_id,
    reaches_a_recipient,
    return_address,
)
from gateway.models import Account, Email, EmailQuerySet, Notice
from gateway.models.emails import OUTBOX_LEASE
from gateway.states import Change, Decision, Direction, Status
from gateway.webhooks import events
from parsing.client import ParserKilled, ParserUnavailable

log = logging.getLogger(__name__)

# After so many attempts a message leaves without recipients that are refused
# temporarily.
ATTEMPTS_FOR_ALL = 8


def send_due(email_id: str) -> str:
    """Make one attempt at one email, if it is due and free. Returns a word that says
    how it went.
    """
    if (
        not settings.EMAIL_URL
        and not Email.objects.filter(pk=email_id, sandbox=True).exists()
    ):
        log.warning("email waits, EMAIL_URL is not set", extra={"email": email_id})
        return "no mail server"
    if (wait := smtp.seconds_until_asked_again()) and Email.objects.postpone(
        email_id, wait
    ):
        return "mail server rests"
    email = Email.objects.claim(email_id)
    if email is None:
        return "not due"
    if email.decision != Decision.APPROVED and (
        email.gated or email.account.hold_all_at is not None
    ):
        return "asked" if submission.request_approval(email) else "not due"
    if email.attempts > smtp.MAX_ATTEMPTS:
        return _fail(
            email,
            smtp.HandoverFailed("given up: every attempt ended without an outcome"),
        )
    refusal, needs_approval = recheck(email)
    if needs_approval:
        return "asked" if submission.request_approval(email) else "not due"
    if refusal:
        return _fail(email, smtp.HandoverFailed(refusal))
    if email.additions is None:
        # No approval has fixed them. From here on a second attempt sends the same.
        email.additions = additions_of(email)
        Email.objects.held_by(email).update(additions=email.additions)
    if email.sandbox:
        return _simulate(email)
    return _attempt(email)


def settle_lost() -> int:
    """Mark the emails whose worker died while the mail server may have taken them; they
    are not sent again.
    """
    lost = list(Email.objects.lost().with_mailbox()[:100])
    return sum(_write_off(email, "the worker died") for email in lost)


def _attempt(email: Email) -> str:
    try:
        message = content.build(email)
    except ParserUnavailable:
        _give_back(email)
        return "put off"
    except ParserKilled:
        refusal = smtp.HandoverFailed(
            "its text cannot be converted to HTML safely", permanent=True
        )
        return _fail(email, refusal)
    recipients = content.all_recipients(email)
    suppressed = suppression.suppressed_recipients(email, recipients)
    # Copies that the mailbox adds are no reason to send.
    if suppressed and suppressed.keys() >= set(email.addressees()):
        why = "every recipient is suppressed or has unsubscribed"
        refusal = smtp.HandoverFailed(why, permanent=True, refused=suppressed)
        return _fail(email, refusal)
    server = Server.from_url(settings.EMAIL_URL)
    try:
        result = smtp.hand_over(
            server,
            return_address(email) if server.dsn else email.from_address,
            [one for one in recipients if one not in suppressed],
            signed(message, email.from_address),
            accept_partial=email.attempts > ATTEMPTS_FOR_ALL,
            before_message=partial(_checkpoint, email, has_return_address=server.dsn),
            envelope_id=envelope_id(email),
        )
    except smtp.LeaseLost:
        log.warning(
            "attempt given up, not its to send",
            extra={"email": email.pk, "attempt": email.attempts},
        )
        _give_back(email)
        return "lease lost"
    except smtp.FateUnknown as error:
        _write_off(email, str(error))
        return "unknown"
    except smtp.HandoverFailed as error:
        if error.refused:
            error.refused.update(suppressed)
        wait = smtp.retry_wait(error, email.attempts)
        if wait is None:
            return _fail(email, error)
        _own_attempt(email).update(
            due_at=Now() + wait,
            lease_until=None,
            data_attempted_at=None,
            last_error=str(error)[:2000],
        )
        log.warning(
            "email put off",
            extra={
                "email": email.pk,
                "attempt": email.attempts,
                "reason": auditing.without_addresses(str(error)),
            },
        )
        return "put off"
    _record_sent(email, replace(result, refused=result.refused | suppressed))
    return "sent"


def _checkpoint(email: Email, *, has_return_address: bool = False) -> bool:
    """Commit that the message is about to be offered; False when the lease is lost or
    the email may not leave.
    """
    mine = Email.objects.held_by(email).may_be_sent().filter(data_attempted_at=None)
    lease = Now() + OUTBOX_LEASE
    return bool(
        mine.update(
            data_attempted_at=Now(),
            lease_until=lease,
            has_return_address=has_return_address,
        )
    )


def _give_back(email: Email) -> None:
    """End the lease, if it is still held, so that another attempt can follow at once."""
    Email.objects.held_by(email).filter(data_attempted_at=None).update(lease_until=None)


def _simulate(email: Email) -> str:
    now = timezone.now()
    with transaction.atomic():
        moved = (
            Email.objects.held_by(email)
            .may_be_sent()
            .move(
                email,
                Change.SEND,
                sent_at=now,
                delivered_at=now,
                lease_until=None,
                last_error="",
            )
        )
        if moved:
            auditing.record("email.sent", email, simulated=True)
            events.announce(email, events.SENT, events.DELIVERED, at=now)
        else:
            _give_back(email)
    return "pretended" if moved else "lease lost"


def _record_sent(email: Email, result: smtp.HandoverResult) -> None:
    now = timezone.now()
    refused = result.refused
    fields: dict[str, Any] = {
        "sent_at": now,
        "lease_until": None,
        "fate_unknown": False,
        "last_error": "",
    }
    reached = [events.SENT]
    if refused:
        email.refused_recipients = refused
        email.bounce_type = _bounce_type(refused)
        fields |= {
            "bounced_at": now,
            "bounce_type": email.bounce_type,
            "refused_recipients": refused,
        }
    # Without delivery reports the mail server's acceptance counts as delivery.
    if not result.reports_delivery and reaches_a_recipient(email):
        fields["delivered_at"] = now
        reached.append(events.DELIVERED)
    with transaction.atomic():
        # This attempt may have been written off meanwhile; the server's answer corrects
        # that.
        if not _own_attempt(email).move(email, Change.SEND, **fields):
            if not Email.objects.written_off(email).update(**fields):
                return
            email.status = Status.SENT
        auditing.record("email.sent", email, refused=len(refused))
        events.announce(email, *reached, at=now)
        if refused:
            suppression.suppress_gone(email, refused)
            suppression.announce_bounce(email, refused, now)


def _fail(email: Email, error: smtp.HandoverFailed) -> str:
    now = timezone.now()
    refused = error.refused if error.permanent else {}
    fields: dict[str, Any] = {
        "lease_until": None,
        "due_at": None,
        "last_error": str(error)[:2000],
    }
    if error.permanent:
        kind = _bounce_type(refused) if refused else "message_refused"
        fields |= {
            "bounced_at": now,
            "bounce_type": kind,
            "refused_recipients": refused,
        }
    with transaction.atomic():
        if not _own_attempt(email).move(email, Change.FAIL, **fields):
            return "failed"
        auditing.record(
            "email.send_failed",
            email,
            attempts=email.attempts,
            permanent=error.permanent,
        )
        if error.permanent:
            suppression.suppress_gone(email, refused)
            suppression.announce_bounce(email, refused, now)
        events.announce(email, events.FAILED, at=now, diagnostic=str(error)[:500])
    return "failed"


def _write_off(email: Email, reason: str) -> bool:
    """Write the email off as sent with an unknown fate; no event announces it."""
    with transaction.atomic():
        moved = _own_attempt(email).move(
            email,
            Change.SEND,
            fate_unknown=True,
            lease_until=None,
            due_at=None,
            last_error=reason[:2000],
        )
        if moved:
            auditing.record("email.fate_unknown", email, reason=reason[:200])
        else:
            # Somebody else wrote it off, without this reason.
            log.error(
                "email fate unknown", extra={"email": email.pk, "reason": reason[:200]}
            )
    return moved


def _own_attempt(email: Email) -> EmailQuerySet:
    # Ignores the lease's end: no other worker claims a row after its checkpoint, and a
    # newer claim has another number.
    return Email.objects.filter(
        pk=email.pk, attempts=email.attempts, status=Status.SCHEDULED
    )


def _bounce_type(refused: smtp.Replies) -> str:
    asked = any(code != suppression.NOT_ASKED for code, _ in refused.values())
    return "recipient_refused" if asked else "suppressed"


@transaction.atomic
def hold_back(made_at: datetime) -> list[str]:
    """Write off every live email that was due, and hold all mail of every account.
    Returns which are written off. Must run before any worker does.

    What was due may have been handed to the mail server since the backup: it becomes
    `sent` with `fate_unknown`, like an email whose worker died, and is never sent by
    itself. What is due later waits until somebody ends `hold_all`, as it may have been
    cancelled or sent earlier meanwhile.
    """
    reason = f"Restored from the backup of {made_at:%Y-%m-%d %H:%M:%S} UTC: it may have been sent since."
    scheduled = Email.objects.filter(status=Status.SCHEDULED, sandbox=False)
    # Pending messages may have been decided after the backup: their rows in the pending
    # list show it.
    to_ask = Q(gated=True) & ~Q(decision=Decision.APPROVED)
    unfinished = (Status.PENDING_SCAN, Status.PENDING_SEND_APPROVAL, Status.SCHEDULED)
    live = Email.objects.filter(
        direction=Direction.OUTBOUND, sandbox=False, status__in=unfinished
    )
    live.filter(to_ask).update(fate_unknown=True, last_error=reason)
    due = scheduled.filter(~to_ask, due_at__lte=Now()).order_by("due_at", "id")
    written_off = []
    for email in due.with_mailbox():
        fields = {
            "fate_unknown": True,
            "lease_until": None,
            "due_at": None,
            "last_error": reason,
        }
        if Email.objects.move(email, Change.SEND, **fields):
            auditing.record("email.fate_unknown", email, reason=reason)
            written_off.append(f"{email.pk} ({email.mailbox.address})")
    Notice.objects.filter(due_at__isnull=False).update(due_at=None, last_error=reason)
    accounts = list(Account.objects.filter(is_active=True))
    Account.objects.filter(is_active=True).update(hold_all_at=timezone.now())
    for account in accounts:
        auditing.record("account.hold_all_on", account, reason=reason)
    log.warning(
        "held back after a restore",
        extra={"written_off": len(written_off), "accounts": len(accounts)},
    )
    return written_off
