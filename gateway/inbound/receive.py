"""Stores received mail: each message once, in its thread, held or readable.

The only mail sent because of received mail are copies to the oversight address, and
`notices.forward` sends none of automatic mail: no mail loop can close inside the
gateway.
"""

import hashlib
import logging
from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils import timezone

from common.identifiers import ulid
from common.mail_addresses import clean_address, domain_of
from gateway import auditing, notices
from gateway.inbound.received_mail import Mail, is_marked
from gateway.models import Attachment, Email, Mailbox
from gateway.states import Direction, Mode, Status
from gateway.webhooks import events

log = logging.getLogger(__name__)


def sending_mailbox(email_id: str) -> Mailbox | None:
    """Return the live mailbox that an email left from."""
    email = Email.objects.select_related("mailbox__account").filter(pk=email_id).first()
    mailbox = email.mailbox if email else None
    return (
        mailbox if mailbox and mailbox.is_active and mailbox.account.is_active else None
    )


def receive_mail(
    *, mailbox: Mailbox, mail: Mail, digest: str, recipient: str, sender: str
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
                events.PENDING if held else events.RECEIVED,
                email=email,
                at=email.created_at,
            )
            if not held:
                notices.forward(email)
    except IntegrityError:
        if known.exists():
            return "known"
        raise
    log.info("email received", extra={"email": pk, "mailbox": mailbox.pk, "held": held})
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
