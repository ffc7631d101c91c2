"""Applies what mail servers report of mail that was sent: delivery, bounces and
complaints.

A report is believed where it came to the mail's own return address, or names its
message id and comes from a mail server, and speaks of somebody whom the mail went to. A
forged one is refused, or anybody could get addresses suppressed.
"""

import hmac
import logging
import re

from django.db import transaction
from django.utils import timezone

from gateway import auditing
from gateway.inbound.received_mail import COMPLAINT, FAILED, RecipientReport, Report
from gateway.messages import verp
from gateway.messages.content import all_recipients, reaches_a_recipient
from gateway.models import Email, Mailbox, Suppression
from gateway.recipients import suppression
from gateway.states import Direction, Status
from gateway.webhooks import events

# Final: delivered, or handed to servers that do not report.
_ARRIVED = ("delivered", "relayed", "expanded", COMPLAINT)
# Of two reports about one recipient the one with more weight counts, in any order.
_WEIGHT = {
    "delayed": 1,
    "relayed": 2,
    "expanded": 2,
    "delivered": 3,
    FAILED: 4,
    COMPLAINT: 5,
}

log = logging.getLogger(__name__)


class ForgedReport(Exception):
    """The report claims to be about our mail, and cannot be."""


class ReportTooEarly(Exception):
    """The report came before the mail server's answer was stored: the sender should
    retry.
    """


def take_report(
    *, report: Report, mailbox: Mailbox | None, recipient: str, sender: str
) -> bool:
    """Take in a report that came to `recipient` from the envelope sender `sender`;
    False where it is about no mail of ours, and so mail like any other. Raises
    ForgedReport or ReportTooEarly.
    """
    with transaction.atomic():
        email, is_proved = _email_of(report, mailbox, recipient, sender)
        if email is None:
            return False
        people = {address.lower(): address for address in all_recipients(email)}
        result = [
            (people[one.recipient], one)
            for one in report.result
            if one.recipient in people
        ]
        if not result and is_proved and len(people) == 1:
            # Forwarded mail is reported under another address, and a complaint need not
            # name anybody.
            result = [
                (address, one) for address in people.values() for one in report.result
            ]
        if not result:
            # About mail of ours, but about nobody whom it went to.
            if is_proved and report.result:
                raise ForgedReport
            return is_proved
        if email.status == Status.SCHEDULED and email.data_attempted_at is not None:
            raise ReportTooEarly
        if email.status != Status.SENT:
            raise ForgedReport
        # Whoever got the mail knows its addresses; that nobody speaks of another
        # recipient, its mail servers alone can show. What others report is stored, and
        # suppresses nobody.
        may_suppress = len(people) == 1 or hmac.compare_digest(
            report.envelope_id, verp.envelope_id(email)
        )
        for address, one in result:
            _take(email, address, one, may_suppress=may_suppress)
        # Delivered once every recipient who did not bounce is reported as delivered.
        waited_for = set(all_recipients(email)) - email.refused_recipients.keys()
        arrived = {
            address
            for address, one in email.reported.items()
            if one["action"] in _ARRIVED
        }
        if (
            email.delivered_at is None
            and waited_for <= arrived
            and reaches_a_recipient(email)
        ):
            email.save_fields(delivered_at=timezone.now())
            events.announce(events.DELIVERED, email=email, at=email.delivered_at)
    return True


def _email_of(
    report: Report, mailbox: Mailbox | None, recipient: str, sender: str
) -> tuple[Email | None, bool]:
    """Return the email that the report is about, locked, and whether its return address
    says so.

    Raises ForgedReport.
    """
    outgoing = Email.objects.filter(direction=Direction.OUTBOUND, sandbox=False)
    outgoing = outgoing.with_mailbox().select_for_update(of=("self",))
    try:
        proved = [
            verp.email_id_in(one) for one in (recipient, *report.return_addresses)
        ]
    except verp.ForgedAddress:
        raise ForgedReport from None
    if named := next(filter(None, proved), ""):
        return outgoing.filter(pk=named).first(), True
    if mailbox is None:
        return None, False
    email = outgoing.filter(
        mailbox=mailbox, message_id_header__in=report.message_ids
    ).first()
    reports_delivery = any(one.action != COMPLAINT for one in report.result)
    # A mail server reports from the empty sender (RFC 3464, section 2), and to the
    # return address where there is one.
    if email is not None and (
        (sender and reports_delivery) or email.has_return_address
    ):
        raise ForgedReport
    return email, False


def _take(
    email: Email, address: str, result: RecipientReport, *, may_suppress: bool
) -> None:
    now = timezone.now()
    before = email.reported.get(address, {}).get("action", "")
    if _WEIGHT[result.action] <= _WEIGHT.get(before, 0):
        return
    email.reported[address] = {
        "action": result.action,
        "status": result.status,
        "at": now.isoformat(),
    }
    email.save(update_fields=["reported"])
    auditing.record(
        "email.reported",
        email,
        recipient=address,
        reported=result.action,
        code=result.status,
        reason=result.diagnostic,
    )
    if result.action != "delayed" and email.fate_unknown:
        # The report shows that a mail server has the message.
        email.save_fields(fate_unknown=False, sent_at=now, last_error="")
        events.announce(events.SENT, email=email, at=now)
    if result.action == FAILED:
        is_hard = result.status.startswith("5") or not result.status
        # Other numbers stand there too, such as those of addresses.
        found = re.search(
            rf"(?<![\d.])({'5' if is_hard else '4'}\d\d)(?![\d.])", result.diagnostic
        )
        code = int(found[1]) if found else (550 if is_hard else 450)
        reply = (code, f"{result.status} {result.diagnostic}".strip()[:500])
        email.save_fields(
            bounced_at=now,
            bounce_type="hard_bounce" if is_hard else "soft_bounce",
            refused_recipients=email.refused_recipients | {address: reply},
        )
        if is_hard and may_suppress:
            suppression.suppress_gone(email=email, refused={address: reply})
        events.announce(
            events.BOUNCED,
            email=email,
            at=now,
            bounce_type=email.bounce_type,
            bounce_code=code,
            diagnostic=reply[1],
            bounced_recipients=[address],
        )
    elif result.action == COMPLAINT:
        if may_suppress:
            suppression.suppress(
                email=email, address=address, reason=Suppression.Reason.COMPLAINT
            )
        events.announce(
            events.COMPLAINED,
            email=email,
            complained_recipients=[address],
            feedback_type=result.diagnostic,
        )
    log.info(
        "delivery reported",
        extra={"email": email.pk, "reported": result.action, "status": result.status},
    )
