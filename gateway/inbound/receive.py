"""Stores received mail: each message once for each mailbox, in its thread, held or
readable. Also applies what mail servers report about sent mail: delivery, bounces and
complaints.

The only mail sent because of received mail are copies to the oversight address, and
`notices.forward` sends none of automatic mail: no mail loop can close inside the
gateway.

A report is believed if it came to the return address of the mail, or if it names the
mail's message id and comes from a mail server; and only about recipients of that mail.
A forged report is refused, because otherwise anybody could get addresses suppressed.
"""

import hashlib
import hmac
import logging
import re
from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils import timezone

from common.desk_mail import report_bounce
from common.identifiers import ulid
from common.mail_addresses import clean_address, domain_of
from common.return_addresses import ForgedAddress, name_in
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
    without_route,
)
from gateway.messages import content
from gateway.messages.content import all_recipients, reaches_a_recipient
from gateway.models import Attachment, Email, Mailbox, Suppression
from gateway.models.emails import local_part
from gateway.states import Direction, Mode, Status
from gateway.webhooks import events
from parsing.client import ParserKilled, from_source, parse
from parsing.jobs import unpack

log = logging.getLogger(__name__)


def receive_mail(
    mailbox: Mailbox, mail: Mail, *, digest: str, recipient: str, sender: str
) -> str:
    """Store one message for one mailbox. Returns its id, or why it was not stored:
    `known` or `loop`.

    `digest` is the hash of the bytes as received: if a server sends them again, because
    our answer was lost, nothing changes.
    """
    stored_before = Email.objects.filter(mailbox=mailbox, received_sha256=digest)
    if stored_before.exists():
        return "known"
    sent = Email.objects.filter(mailbox=mailbox, direction=Direction.OUTBOUND)
    if mail.message_id and sent.named_by([mail.message_id]).exists():
        # A message of the mailbox has come back to it.
        log.warning("mail refused as a loop", extra={"mailbox": mailbox.pk})
        return "loop"
    # Only programs send from the empty address, such as mail servers and auto-replies.
    automatic = mail.automatic or ("" if sender else "auto-generated")
    try:
        sender = clean_address(sender)
    except ValueError:
        sender = ""
    # Only facts of the envelope and of this server. Clients trust metadata, so it holds
    # nothing of the sender's text.
    facts = {
        "envelope_from": sender,
        "envelope_to": recipient,
        "auto_submitted": automatic,
        "truncated": mail.cut,
    }
    # The thread of the message that this one answers: what In-Reply-To names, else the
    # nearest reference; never by subject. If several messages have the same id, the
    # oldest counts, so that nobody can take a thread over.
    ids = list(dict.fromkeys([*mail.in_reply_to, *reversed(mail.references)]))
    threads: dict[str, str] = {}
    parents = Email.objects.filter(mailbox=mailbox, sandbox=False).named_by(ids)
    for message_id, relay_id, thread_id in parents.order_by("id").values_list(
        "message_id_header", "relay_id", "thread_id"
    ):
        for one in ids:
            if one == message_id or (relay_id and relay_id == local_part(one)):
                threads.setdefault(one, thread_id)
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
        # A From that is not understood is unknown; the envelope counts without one.
        from_address=mail.sender or ("" if mail.sender_name else sender),
        from_name=mail.sender_name,
        # An answer goes to somebody else than the mailbox itself.
        reply_to=", ".join(one for one in mail.reply_to if not mailbox.takes(one)),
        to=mail.to or [recipient],
        cc=mail.cc,
        subject=mail.subject,
        markdown=mail.text,
        html=mail.html,
        has_attachments=bool(mail.files),
        # The gateway's own Message-ID if the sender's is missing or unusable, so that
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
            auditing.record("email.received", email, automatic=automatic, cut=mail.cut)
            events.announce(
                email, events.PENDING if held else events.RECEIVED, at=email.created_at
            )
            if not held:
                notices.forward(email)
    except IntegrityError:
        if stored_before.exists():
            return "known"
        raise
    return pk


def digest_of(content: bytes, *, now: datetime) -> str:
    """Return the hash by which a repeated message is recognised, also if its copies
    came by different routes. Mail without a Message-ID, Date or Received line is
    recognised only within the same minute.

    A script that writes the same alert every day sends the same bytes; a mail server
    never does so for two messages.
    """
    digest = hashlib.sha256(without_route(content))
    if not is_marked(content):
        digest.update(b"%d" % (now.timestamp() // 60))
    return digest.hexdigest()


# What a recipient's last report can be for mail that arrived: delivered, or passed on
# to servers that do not report.
_ARRIVED = ("delivered", "relayed", "expanded", COMPLAINT)
# Of two reports about one recipient the one with more weight counts, whichever came
# first.
_WEIGHT = {
    "delayed": 1,
    "relayed": 2,
    "expanded": 2,
    "delivered": 3,
    FAILED: 4,
    COMPLAINT: 5,
}


class ForgedReport(Exception):
    """The report claims to be about our mail, but cannot be genuine."""


class ReportTooEarly(Exception):
    """The report came before the mail server's answer was stored: the sender should
    retry.
    """


def take_report(
    report: Report, mailbox: Mailbox | None, *, recipient: str, sender: str
) -> bool:
    """Apply a report that came to `recipient` from the envelope sender `sender`.
    Returns False if it is about no mail of ours, so that it is stored like other mail.
    Raises ForgedReport or ReportTooEarly.
    """
    with transaction.atomic():
        email, is_proved = _email_of(report, mailbox, recipient, sender)
        if not email:
            return is_proved and _take_desk_report(report, name_in(recipient))
        recipients = {address.lower(): address for address in all_recipients(email)}
        entries = [
            (recipients[entry.recipient], entry)
            for entry in report.result
            if entry.recipient in recipients
        ]
        if not entries and is_proved and len(recipients) == 1:
            # Forwarded mail is reported under another address, and a complaint need not
            # name anybody.
            entries = [
                (address, entry)
                for address in recipients.values()
                for entry in report.result
            ]
        if not entries:
            # It is about mail of ours, but about nobody whom that went to.
            if is_proved and report.result:
                raise ForgedReport
            return is_proved
        if email.status == Status.SCHEDULED and email.data_attempted_at:
            raise ReportTooEarly
        if email.status != Status.SENT:
            raise ForgedReport
        # Every recipient knows the other recipients' addresses, and could write a
        # report about them. Only mail servers know the envelope id. Without it, a
        # report about mail to several people is stored, but suppresses nobody.
        may_suppress = len(recipients) == 1 or hmac.compare_digest(
            report.envelope_id.encode(), content.envelope_id(email).encode()
        )
        for address, entry in entries:
            _apply(email, address, entry, may_suppress=may_suppress)
        # The email is delivered once every recipient who did not bounce is reported as
        # delivered.
        expected = set(recipients.values()) - email.refused_recipients.keys()
        arrived = {
            address
            for address, entry in email.reported.items()
            if entry["action"] in _ARRIVED
        }
        if (
            not email.delivered_at
            and expected <= arrived
            and reaches_a_recipient(email)
        ):
            email.save_fields(delivered_at=timezone.now())
            events.announce(email, events.DELIVERED, at=email.delivered_at)
    return True


def _take_desk_report(report: Report, name: str) -> bool:
    # Hands on what no server will accept of the desk's mail to its people. If Redis is
    # away, the error makes the sending server come again.
    for entry in report.result:
        if entry.action == FAILED and _is_hard(entry):
            report_bounce.delay(name, entry.status, entry.diagnostic)
    return bool(name)


def _is_hard(entry: RecipientReport) -> bool:
    return entry.status.startswith("5") or not entry.status


def _email_of(
    report: Report, mailbox: Mailbox | None, recipient: str, sender: str
) -> tuple[Email | None, bool]:
    """Return the email that a report is about, locked, or None; and whether a return
    address proves that.

    Raises ForgedReport.
    """
    sent = Email.objects.filter(direction=Direction.OUTBOUND, sandbox=False)
    sent = sent.with_mailbox().select_for_update(of=("self",))
    try:
        proved_names = [
            name_in(address) for address in (recipient, *report.return_addresses)
        ]
    except ForgedAddress:
        raise ForgedReport from None
    if name := next(filter(None, proved_names), ""):
        return sent.filter(pk=name).first(), True
    if not mailbox:
        return None, False
    email = sent.filter(mailbox=mailbox).named_by(report.message_ids).first()
    reports_delivery = any(entry.action != COMPLAINT for entry in report.result)
    # A mail server reports from the empty sender (RFC 3464, section 2), and to the
    # return address if the mail has one.
    if email and ((sender and reports_delivery) or email.has_return_address):
        raise ForgedReport
    return email, False


def _apply(
    email: Email, address: str, entry: RecipientReport, *, may_suppress: bool
) -> None:
    # Applies what a report says about one recipient, unless an earlier report counts
    # more.
    now = timezone.now()
    earlier_action = email.reported.get(address, {}).get("action", "")
    if _WEIGHT[entry.action] <= _WEIGHT.get(earlier_action, 0):
        return
    email.reported[address] = {
        "action": entry.action,
        "status": entry.status,
        "at": now.isoformat(),
    }
    email.save(update_fields=["reported"])
    auditing.record(
        "email.reported",
        email,
        recipient=address,
        reported=entry.action,
        code=entry.status,
        reason=entry.diagnostic,
    )
    if entry.action != "delayed" and email.fate_unknown:
        # The report shows that a mail server has the message.
        email.save_fields(fate_unknown=False, sent_at=now, last_error="")
        events.announce(email, events.SENT, at=now)
    if entry.action == FAILED:
        is_hard = _is_hard(entry)
        # The text also holds other numbers, such as those of addresses.
        reply_code = re.search(
            rf"(?<![\d.])({'5' if is_hard else '4'}\d\d)(?![\d.])", entry.diagnostic
        )
        code = int(reply_code[1]) if reply_code else (550 if is_hard else 450)
        reply = (code, f"{entry.status} {entry.diagnostic}".strip()[:500])
        email.save_fields(
            bounced_at=now,
            bounce_type="hard_bounce" if is_hard else "soft_bounce",
            refused_recipients=email.refused_recipients | {address: reply},
        )
        if is_hard and may_suppress:
            suppression.suppress_gone(email, {address: reply})
        suppression.announce_bounce(email, {address: reply}, now)
    elif entry.action == COMPLAINT:
        if may_suppress:
            suppression.suppress(email, address, Suppression.Reason.COMPLAINT)
        events.announce(
            email,
            events.COMPLAINED,
            complained_recipients=[address],
            feedback_type=entry.diagnostic,
        )


def read_mail(content: bytes, share: str, sender: str) -> Mail:
    """Return the message in received bytes, read by the parser. Its time counts against
    the client's address, or what a relay's sender has a share by, and within that the
    sender. Raises NotAccepted or ParserUnavailable.
    """
    try:
        with from_source(f"address {share}", sender):
            fields, file_contents = unpack(parse("read_mail", content))
    except ParserKilled:
        raise NotAccepted("554 5.6.0 The message cannot be read safely") from None
    if "refusal" in fields:
        raise NotAccepted(str(fields["refusal"]))
    fields["files"] = [
        File(**file, content=file_content)
        for file, file_content in zip(fields["files"], file_contents, strict=True)
    ]
    if report := fields["report"]:
        report["result"] = [RecipientReport(**entry) for entry in report["result"]]
        fields["report"] = Report(**report)
    return Mail(**fields)
