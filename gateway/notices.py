"""Mails approval codes and received messages to an account's oversight address.

These mails are the gateway's own: no agent wrote them, so nobody approves them and
nothing marks them as written by AI. Each is sent at most once, as in
messages/outbox.py.
"""

import logging
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from common.mail_addresses import domain_of
from common.smtp import Server
from gateway import auditing, smtp, tasks
from gateway.dkim import signed
from gateway.header_lines import POLICY, header_address
from gateway.lookups import mailbox_for
from gateway.models import Account, ApprovalRequest, Domain, Email, Notice
from gateway.text import one_plain_line

log = logging.getLogger(__name__)

# The local part of the sender of codes. No mailbox may have it: its agent would receive
# the bounces, which contain codes.
CODE_SENDER = "approval-codes"


def mail_code(request: ApprovalRequest) -> None:
    """Mail the code of a request to the oversight address, in the caller's transaction;
    not if the account has no such address, or no domain to send from.
    """
    to = oversight_address(request.account)
    if to and Domain.objects.oldest_of(request.account):
        _enqueue(Notice(account=request.account, to=to, approval=request))


def forward(email: Email) -> None:
    """Mail a received message to the oversight address if its mailbox says so, in the
    caller's transaction.

    Not if a program wrote it, if it comes from that address, or if it is a bounce: such
    mail could be forwarded in a circle.
    """
    # A bounce has no sender.
    sender = email.metadata.get("envelope_from")
    if not (email.mailbox.forward_inbound and sender) or email.metadata.get(
        "auto_submitted"
    ):
        return
    to = oversight_address(email.account)
    if to and to.lower() not in (sender.lower(), email.from_address.lower()):
        _enqueue(Notice(account=email.account, to=to, received=email))


def oversight_address(account: Account) -> str:
    """Return the address for an account's notices; empty if it has none, or if that is
    a mailbox of this gateway, which an agent reads.
    """
    to = account.oversight_email
    return "" if to and mailbox_for(to) else to


def _enqueue(notice: Notice) -> None:
    # Stores the notice, and after the commit sends the task that mails it.
    notice.save(force_insert=True)
    tasks.send_notice.delay_on_commit(notice.pk)


def send_due(notice_id: str) -> str:
    """Make one attempt at one notice, if it is due. Returns how it went, in a word or
    two.
    """
    if not settings.EMAIL_URL or smtp.seconds_until_asked_again():
        return "not now"
    notice = Notice.objects.claim(notice_id)
    if not notice:
        return "not due"
    # A later attempt has another number, so a worker that was too slow changes nothing.
    attempt = Notice.objects.filter(pk=notice.pk, attempts=notice.attempts)

    def begin() -> bool:
        """Record that the server is about to get the notice: without a due time it is
        never sent again. Returns False if another attempt has begun, or if the notice
        may no longer be sent.
        """
        unsent = attempt.may_be_sent().filter(due_at__isnull=False)
        return bool(unsent.update(due_at=None))

    try:
        if notice.attempts > smtp.MAX_ATTEMPTS:
            raise smtp.HandoverFailed(
                "given up: every attempt ended without an outcome", permanent=True
            )
        sender, message = _build(notice)
        smtp.hand_over(
            Server.from_url(settings.EMAIL_URL),
            sender,
            [notice.to],
            signed(message.as_bytes(), sender),
            before_message=begin,
        )
    except smtp.LeaseLost:
        return "not due"
    except (smtp.FateUnknown, smtp.HandoverFailed) as error:
        result = "unknown"
        if isinstance(error, smtp.HandoverFailed):
            result = "failed"
            if wait := smtp.retry_wait(error, notice.attempts):
                # The server has nothing, so the notice is due again.
                attempt.update(due_at=Now() + wait, last_error=str(error)[:2000])
                return "put off"
        attempt.update(due_at=None, last_error=str(error)[:2000])
        log.error(
            "notice not sent",
            extra={"notice": notice.pk, "attempt": notice.attempts, "result": result},
        )
        return result
    with transaction.atomic():
        attempt.update(sent_at=Now(), last_error="")
        auditing.record(
            "email.forwarded" if notice.received else "approval.mailed",
            notice.received or notice.approval,
        )
    return "sent"


def _build(notice: Notice) -> tuple[str, EmailMessage]:
    """Return the sender's address and the message of a notice. Its Message-ID is the
    same at each attempt, so that mail programs recognise a second copy.
    """
    message = EmailMessage(policy=POLICY)
    to = header_address(notice.to)
    if email := notice.received:
        mailbox = email.mailbox
        sender = mailbox.address
        message["From"] = Address(mailbox.display_name, addr_spec=sender)
        # Not every server takes others, and the notice has to arrive.
        if answer_to := list(filter(str.isascii, email.authors())):
            message["Reply-To"] = list(map(header_address, answer_to))
        message["Subject"] = f"Fwd: {one_plain_line(email.subject)}"
        author = f"{one_plain_line(email.from_name)} <{email.from_address}>".strip()
        text = f"""\
{sender} received this message. An answer goes to {", ".join(answer_to) or sender}.

From: {author}
To: {", ".join(email.to)}
Date: {email.created_at:%Y-%m-%d %H:%M} UTC
Subject: {one_plain_line(email.subject)}

{email.markdown}
"""
    else:
        request = notice.approval
        assert request
        domain = Domain.objects.oldest_of(notice.account)
        if not domain:
            raise smtp.HandoverFailed("no domain to send from", permanent=True)
        sender = f"{CODE_SENDER}@{domain}"
        account = one_plain_line(request.account.name)
        message["From"] = Address("Approval codes", addr_spec=sender)
        # Nobody reads what is sent to the sender's address.
        message["Reply-To"] = to
        message["Subject"] = f"Approval code for {account}"
        until = f"{request.expires_at:%Y-%m-%d %H:%M}"
        text = f"""\
The API key "{one_plain_line(request.requested_by_key.name)}" asks for this in the account {account}:

    {one_plain_line(request.summary)}

If you agree, give this code to whoever asked for it:

    {request.code}

The code is valid for this act alone, until {until} UTC. If you do not know who asked, do nothing.
"""
    message.set_content(text, charset="utf-8")
    if email:
        email.attach_files_to(message)
    message["To"] = to
    message["Date"] = format_datetime(notice.created_at)
    message["Message-ID"] = f"<{notice.pk.lower()}.notice@{domain_of(sender)}>"
    # So that no program answers it (RFC 3834), and this gateway does not forward it.
    message["Auto-Submitted"] = "auto-generated"
    return sender, message
