"""Stores received mail: each message once, in its thread, held or readable; and applies what
mail servers report of mail that was sent: delivery, bounces and complaints.

The only mail sent because of received mail are copies to the oversight address, and
`notices.forward` sends none of automatic mail: no mail loop can close inside the gateway.

A report is believed where it came to the mail's own return address, or names its message id
and comes from a mail server, and speaks of somebody whom the mail went to. A forged one is
refused, or anybody could get addresses suppressed.
"""

import hashlib
import hmac
import logging
import re
from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils import timezone

from common.identifiers import ulid
from common.mail_addresses import clean_address, domain_of
from gateway import auditing, notices, suppression
from gateway.attachments import File
from gateway.inbound.received_mail import (
    COMPLAINT,
    FAILED,
    Mail,
    NotAccepted,
    RecipientReport,
    Report,
    is_marked,
)
from gateway.messages import content
from gateway.messages.content import all_recipients, reaches_a_recipient
from gateway.models import Attachment, Email, Mailbox, Suppression
from gateway.states import Direction, Mode, Status
from gateway.webhooks import events
from parsing.client import ParserKilled, parse
from parsing.jobs import unpack

log = logging.getLogger(__name__)


def receive_mail(
    mailbox: Mailbox, mail: Mail, *, digest: str, recipient: str, sender: str
) -> str:
    """Store one message for one mailbox; return its id, or why it was not stored:
    `known` or `loop`.

    `digest` is of the bytes as received: a server that repeats them, because our answer
    was lost, changes nothing.
    """
    known = Email.objects.filter(mailbox=mailbox, received_sha256=digest)
    if known.exists():
        return "known"
    sent = Email.objects.filter(
        mailbox=mailbox, direction=Direction.OUTBOUND, message_id_header=mail.message_id
    )
    if mail.message_id and sent.exists():
        # A message of the mailbox has come back to it.
        log.warning("mail refused as a loop", extra={"mailbox": mailbox.pk})
        return "loop"
    try:
        sender = clean_address(sender)
    except ValueError:
        sender = ""
    # Only facts of the envelope and of this server: clients trust metadata, so nothing
    # of the sender's text is in it.
    facts = {
        "envelope_from": sender,
        "envelope_to": recipient,
        "auto_submitted": mail.automatic,
        "truncated": list(mail.cut),
    }
    # The thread of the message that this one answers: what In-Reply-To names, else the
    # nearest reference. Never by subject. Where several messages share an id the oldest
    # counts, so that nobody can take a thread over.
    ids = list(dict.fromkeys([*mail.in_reply_to, *reversed(mail.references)]))
    threads: dict[str, str] = {}
    answered = Email.objects.filter(
        mailbox=mailbox, sandbox=False, message_id_header__in=ids
    ).order_by("id")
    for message_id, thread_id in answered.values_list("message_id_header", "thread_id"):
        threads.setdefault(message_id, thread_id)
    pk = ulid()
    held = mailbox.oversight_mode == Mode.GATED_ALL
    email = Email(
        id=pk,
        account=mailbox.account,
        mailbox=mailbox,
        direction=Direction.INBOUND,
        status=Status.PENDING_INBOUND_APPROVAL if held else Status.UNREAD,
        sandbox=False,
        created_at=timezone.now(),
        from_address=mail.sender or sender,
        from_name=mail.sender_name,
        reply_to=mail.reply_to,
        to=mail.to or [recipient],
        cc=mail.cc,
        subject=mail.subject,
        markdown=mail.text,
        html=mail.html,
        has_attachments=bool(mail.files),
        # The gateway's own Message-ID where the sender's is missing or unusable, so that
        # an answer can refer to it.
        message_id_header=mail.message_id
        or f"<{pk.lower()}.received@{domain_of(mailbox.address)}>",
        in_reply_to=next(iter(mail.in_reply_to), ""),
        references=" ".join(mail.references),
        thread_id=next((threads[one] for one in ids if one in threads), ulid()),
        received_sha256=digest,
        metadata={name: fact for name, fact in facts.items() if fact},
        oversight_mode=mailbox.oversight_mode,
        gated=held,
    )
    try:
        with transaction.atomic():
            email.save(force_insert=True)
            Attachment.objects.attach(email, mail.files)
            auditing.record(
                "email.received", email, automatic=mail.automatic, cut=list(mail.cut)
            )
            events.announce(
                email, events.PENDING if held else events.RECEIVED, at=email.created_at
            )
            if not held:
                notices.forward(email)
    except IntegrityError:
        if known.exists():
            return "known"
        raise
    return pk


def digest_of(content: bytes, *, now: datetime) -> str:
    """Return the hash by which a repeated message is recognised. Mail with a
    Message-ID, Date or Received line is recognised always, other mail only within the
    same minute.

    A script that writes the same alert every day sends the same bytes; a mail server
    never does so for two messages.
    """
    digest = hashlib.sha256(content)
    if not is_marked(content):
        digest.update(b"%d" % (now.timestamp() // 60))
    return digest.hexdigest()


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


class ForgedReport(Exception):
    """The report claims to be about our mail, and cannot be."""


class ReportTooEarly(Exception):
    """The report came before the mail server's answer was stored: the sender should
    retry.
    """


def take_report(
    report: Report, mailbox: Mailbox | None, *, recipient: str, sender: str
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
            report.envelope_id, content.envelope_id(email)
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
            events.announce(email, events.DELIVERED, at=email.delivered_at)
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
            content.email_id_in(one) for one in (recipient, *report.return_addresses)
        ]
    except content.ForgedAddress:
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
        events.announce(email, events.SENT, at=now)
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
            suppression.suppress_gone(email, {address: reply})
        suppression.announce_bounce(email, {address: reply}, now)
    elif result.action == COMPLAINT:
        if may_suppress:
            suppression.suppress(email, address, Suppression.Reason.COMPLAINT)
        events.announce(
            email,
            events.COMPLAINED,
            complained_recipients=[address],
            feedback_type=result.diagnostic,
        )


_NOT_SAFE = "554 5.6.0 The message cannot be read safely"


def read_mail(content: bytes) -> Mail:
    """Return the message in received bytes. Raises NotAccepted or ParserUnavailable."""
    try:
        fields, contents = unpack(parse("read_mail", content))
    except ParserKilled:
        raise NotAccepted(_NOT_SAFE) from None
    if "refusal" in fields:
        raise NotAccepted(str(fields["refusal"]))
    fields["files"] = tuple(
        File(**one, content=held)
        for one, held in zip(fields["files"], contents, strict=True)
    )
    fields["cut"] = tuple(fields["cut"])
    if report := fields["report"]:
        result = tuple(RecipientReport(**one) for one in report["result"])
        lists = {
            name: tuple(report[name]) for name in ("message_ids", "return_addresses")
        }
        fields["report"] = Report(**report | lists | {"result": result})
    return Mail(**fields)
