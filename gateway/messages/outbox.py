"""Sends what is due: one attempt under a lease, in several short transactions, none of
which is open while the mail server talks.

A crash at any point neither loses an email nor sends it twice. Before the checkpoint
(data_attempted_at) an attempt can be repeated; after it only the server's answer
counts, and without that answer the email is `sent` with fate_unknown. After a restore,
`hold_back` makes sure that nothing is sent that may have been sent since the backup,
and nothing without a person.
"""

import logging
import random
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from common.logs import trace_id
from common.postgres import clock
from common.smtp import Server
from gateway import auditing, smtp, suppression
from gateway.dkim import signed
from gateway.messages import content, submission
from gateway.messages.strict_reader import Differs
from gateway.models import Account, Email, EmailQuerySet, Notice
from gateway.models.emails import OUTBOX_LEASE
from gateway.states import Change, Decision, Direction, Status
from gateway.timestamps import iso
from gateway.webhooks import events
from parsing.client import ParserKilled, ParserUnavailable, from_source

log = logging.getLogger(__name__)

# After this many attempts a message is sent without the recipients that are refused for
# now.
ATTEMPTS_FOR_ALL = 8
NO_MAIL_SERVER = "The gateway has no mail server: EMAIL_URL is not set."


def send_due(email_id: str) -> str:
    """Make one attempt at one email, if it is due and no other worker has it. Returns
    how it went, in a word or two.
    """
    live = Email.objects.waiting().filter(pk=email_id)
    if not settings.EMAIL_URL and live.update(last_error=NO_MAIL_SERVER):
        log.warning("email waits, EMAIL_URL is not set", extra={"email": email_id})
        return "no mail server"
    if (wait := smtp.seconds_until_asked_again()) and Email.objects.postpone(
        email_id, wait
    ):
        return "mail server rests"
    email = Email.objects.claim(email_id)
    if not email:
        return "not due"
    if email.trace:
        # Until this task ends.
        trace_id.set(email.trace)
    is_held = email.gated or email.account.hold_all_at
    if is_held and email.decision != Decision.APPROVED:
        return "asked" if submission.request_approval(email) else "not due"
    if email.leave_by and email.leave_by <= clock():
        end = f"its approval ended at {iso(email.leave_by)}, before it could leave"
        return _fail(email, end)
    if email.attempts > smtp.MAX_ATTEMPTS:
        return _fail(email, "given up: every attempt ended without an outcome")
    refusal, needs_approval = submission.recheck(email)
    if needs_approval:
        return "asked" if submission.request_approval(email) else "not due"
    if refusal:
        return _fail(email, refusal)
    if email.additions is None:
        # No approval has fixed the additions. Fixed now, they are the same at a second
        # attempt.
        email.additions = content.additions_of(email)
        Email.objects.leased_by(email).update(additions=email.additions)
    if email.sandbox:
        return _simulate(email)
    return _attempt(email)


def settle_lost() -> int:
    """Write off emails whose worker died while the mail server may have taken them, so
    that they are not sent again. Returns how many.
    """
    lost = list(Email.objects.lost().with_mailbox()[:100])
    return sum(_write_off(email, "the worker died") for email in lost)


def _attempt(email: Email) -> str:
    # Delivers the email to the mail server once. Returns how it went.
    try:
        with from_source(f"key {email.sent_by_key_id}", email.pk):
            message = content.build(email)
    except ParserUnavailable:
        # That is not the message's fault, so the attempt does not count.
        again = Now() + timedelta(seconds=random.uniform(20, 60))
        _end_lease(email, attempts=F("attempts") - 1, due_at=again)
        return "put off"
    except ParserKilled:
        why = "its text cannot be converted to HTML safely"
        return _fail(email, why, permanent=True)
    except Differs as error:
        reason = f"not sent: what would leave differs from what was approved: {error}"
        return _fail(email, reason)
    recipients = content.all_recipients(email)
    suppressed = suppression.suppressed_recipients(email, recipients)
    # An email is not sent for the mailbox's copies alone.
    if suppressed and suppressed.keys() >= set(email.addressees()):
        why = "every recipient is suppressed or has unsubscribed"
        return _fail(email, why, permanent=True, refused=suppressed)
    server = Server.from_url(settings.EMAIL_URL)
    try:
        result = smtp.hand_over(
            server,
            content.return_address(email) if server.dsn else email.from_address,
            [address for address in recipients if address not in suppressed],
            signed(message, email.from_address),
            accept_partial=email.attempts > ATTEMPTS_FOR_ALL,
            before_message=partial(_checkpoint, email, has_return_address=server.dsn),
            envelope_id=content.envelope_id(email) if server.dsn else "",
            named=[one for one in email.addressees() if one not in suppressed],
        )
    except smtp.LeaseLost:
        log.warning(
            "attempt given up, not its to send",
            extra={"email": email.pk, "attempt": email.attempts},
        )
        _end_lease(email)
        return "lease lost"
    except smtp.FateUnknown as error:
        _write_off(email, str(error))
        return "unknown"
    except smtp.HandoverFailed as error:
        if error.refused:
            error.refused.update(suppressed)
        wait = smtp.retry_wait(error, email.attempts)
        if wait is None:
            return _fail(
                email, str(error), permanent=error.permanent, refused=error.refused
            )
        _own_attempt(email).update(
            due_at=Now() + wait,
            lease_until=None,
            data_attempted_at=None,
            last_error=str(error)[:2000],
            cause=smtp.cause_of(error),
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


def _checkpoint(email: Email, *, has_return_address: bool) -> bool:
    """Commit that the bytes of the message are about to be sent. Returns False if the
    lease is lost or the email may not be sent any more.
    """
    mine = Email.objects.leased_by(email).may_be_sent().filter(data_attempted_at=None)
    return bool(
        mine.update(
            data_attempted_at=Now(),
            lease_until=Now() + OUTBOX_LEASE,
            has_return_address=has_return_address,
        )
    )


def _end_lease(email: Email, **fields: Any) -> None:
    """End the lease, if this attempt still holds it, and store these fields. Another
    attempt can follow once the email is due.
    """
    held = Email.objects.leased_by(email).filter(data_attempted_at=None)
    held.update(lease_until=None, **fields)


def _simulate(email: Email) -> str:
    # Sandbox mail counts as sent and delivered at once, without a mail server.
    now = timezone.now()
    with transaction.atomic():
        moved = (
            Email.objects.leased_by(email)
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
            _end_lease(email)
    return "pretended" if moved else "lease lost"


def _record_sent(email: Email, result: smtp.HandoverResult) -> None:
    # Stores that the server has the email, and which recipients it refused.
    now = timezone.now()
    refused = result.refused
    fields: dict[str, Any] = {
        "sent_at": now,
        "lease_until": None,
        "fate_unknown": False,
        "last_error": "",
        "relay_id": result.relay_id,
    }
    event_names = [events.SENT]
    if refused:
        email.refused_recipients = refused
        email.bounce_type = _bounce_type(refused)
        fields |= {
            "bounced_at": now,
            "bounce_type": email.bounce_type,
            "refused_recipients": refused,
        }
    # Without delivery reports the mail server's acceptance counts as delivery.
    if not result.reports_delivery and content.reaches_a_recipient(email):
        fields["delivered_at"] = now
        event_names.append(events.DELIVERED)
    with transaction.atomic():
        # This attempt may have been written off meanwhile; the server's answer corrects
        # that.
        if not _own_attempt(email).move(email, Change.SEND, **fields):
            if not Email.objects.written_off(email).update(**fields):
                return
            email.status = Status.SENT
        auditing.record(
            "email.sent",
            email,
            refused=len(refused),
            answer=auditing.without_addresses(result.answer),
            queue_id=result.relay_id,
            message_id=email.message_id_header,
        )
        events.announce(email, *event_names, at=now)
        if refused:
            suppression.suppress_gone(email, refused)
            suppression.announce_bounce(email, refused, now)


def _fail(
    email: Email,
    reason: str,
    *,
    permanent: bool = False,
    refused: smtp.Replies | None = None,
) -> str:
    # Moves the email to send_failed. A permanent failure also counts as a bounce.
    now = timezone.now()
    refused = refused or {}
    fields: dict[str, Any] = {
        "lease_until": None,
        "due_at": None,
        "last_error": reason[:2000],
    }
    if permanent:
        fields |= {
            "bounced_at": now,
            "bounce_type": _bounce_type(refused) if refused else "message_refused",
            "refused_recipients": refused,
        }
    with transaction.atomic():
        if not _own_attempt(email).move(email, Change.FAIL, **fields):
            return "failed"
        auditing.record(
            "email.send_failed", email, attempts=email.attempts, permanent=permanent
        )
        if permanent:
            suppression.suppress_gone(email, refused)
            suppression.announce_bounce(email, refused, now)
        events.announce(email, events.FAILED, at=now, diagnostic=reason[:500])
    return "failed"


def _write_off(email: Email, reason: str) -> bool:
    """Move the email to `sent` with an unknown fate; no event announces it."""
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
    # Returns the row, if no newer attempt has begun. Whether the lease has ended does
    # not matter: no other worker claims a row after its checkpoint, and a newer claim
    # has another number.
    return Email.objects.filter(
        pk=email.pk, attempts=email.attempts, status=Status.SCHEDULED
    )


def _bounce_type(refused: smtp.Replies) -> str:
    server_refused = any(code != suppression.NOT_ASKED for code, _ in refused.values())
    return "recipient_refused" if server_refused else "suppressed"


@transaction.atomic
def hold_back(made_at: datetime) -> list[str]:
    """Write off every live email that was due, and hold all mail of every account.
    Returns id and mailbox of each email that was written off. Must run before any
    worker does.

    What was due may have been sent since the backup: it becomes `sent` with
    `fate_unknown`, like an email whose worker died, and is never sent by itself. What
    is due later waits until somebody ends `hold_all`, because it may have been
    cancelled or sent earlier meanwhile.
    """
    reason = f"Restored from the backup of {made_at:%Y-%m-%d %H:%M:%S} UTC: it may have been sent since."
    # Pending messages may have been decided after the backup. `fate_unknown` in the
    # pending list shows that.
    needs_decision = Q(gated=True) & ~Q(decision=Decision.APPROVED)
    unfinished = (Status.PENDING_SEND_APPROVAL, Status.SCHEDULED)
    live = Email.objects.filter(
        direction=Direction.OUTBOUND, sandbox=False, status__in=unfinished
    )
    live.filter(needs_decision).update(fate_unknown=True, last_error=reason)
    due = live.filter(
        ~needs_decision, status=Status.SCHEDULED, due_at__lte=Now()
    ).order_by("due_at", "id")
    written_off = [
        f"{email.pk} ({email.mailbox.address})"
        for email in due.with_mailbox()
        if _write_off(email, reason)
    ]
    Notice.objects.filter(due_at__isnull=False).update(due_at=None, last_error=reason)
    accounts = Account.objects.filter(is_active=True)
    accounts.update(hold_all_at=Now())
    for account in accounts:
        auditing.record("account.hold_all_on", account, reason=reason)
    log.warning(
        "held back after a restore",
        extra={"written_off": len(written_off), "accounts": len(accounts)},
    )
    return written_off
