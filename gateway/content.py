"""What the recipient of an email gets: its own content and what the mailbox adds, as one fingerprinted whole."""

import hashlib

from common.fingerprint import Attachment as AttachmentFacts
from common.fingerprint import Content, canonical_json, fingerprint
from common.mail_addresses import clean_addresses
from gateway.models import Email
from gateway.modes import Mode
from gateway.states import Direction
from gateway.timestamps import iso

# The mail says so in headers of its own, where the mailbox says so.
AI_DISCLOSURE = "This message was written by an AI agent."
# What of the additions names recipients.
_COPIES = ("auto_cc", "auto_bcc", "oversight_copy")


def additions_of(email: Email) -> dict[str, str]:
    """Return what the mailbox adds: as fixed at approval or sending, else as the mailbox stands now."""
    if email.additions is not None or email.direction == Direction.INBOUND:
        return dict(email.additions or {})
    mailbox = email.mailbox
    copy = email.account.oversight_email if email.oversight_mode == Mode.MONITORED else ""
    additions = {
        "auto_cc": mailbox.auto_cc,
        "auto_bcc": mailbox.auto_bcc,
        "signature": mailbox.signature_block,
        "oversight_copy": copy,
        "ai_disclosure": AI_DISCLOSURE if mailbox.ai_disclosure else "",
    }
    return {name: text for name, text in additions.items() if text}


def all_recipients(email: Email) -> list[str]:
    """Return whom an outgoing email goes to: its recipients, and those that the mailbox adds."""
    additions = additions_of(email)
    added = ", ".join(filter(None, (additions.get(name) for name in _COPIES)))
    return list(dict.fromkeys([*email.to, *email.cc, *email.bcc, *clean_addresses(added)]))


def reaches_a_recipient(email: Email) -> bool:
    """Whether anybody whom its author named has not refused the email; copies of the mailbox count for nobody."""
    return bool({*email.to, *email.cc, *email.bcc} - email.refused_recipients.keys())


def content_of(email: Email) -> Content:
    """Return the whole content of an outgoing email, every field covered."""
    return Content(
        sender=email.from_address,
        sender_name=email.from_name,
        reply_to=email.reply_to or None,
        to=tuple(email.to),
        cc=tuple(email.cc),
        bcc=tuple(email.bcc),
        subject=email.subject,
        markdown=email.markdown,
        html=email.html,
        in_reply_to=email.in_reply_to or None,
        attachments=tuple(
            AttachmentFacts(name=one.name, content_type=one.content_type, size=one.size, sha256=one.sha256)
            for one in (email.attachments.all() if email.has_attachments else ())
        ),
        additions=additions_of(email),
        send_at=iso(email.send_at),
    )


def fingerprint_of(email: Email) -> str:
    """Return the fingerprint of an outgoing email as it would leave now."""
    return fingerprint(content_of(email))


def content_digest(
    *, to: list[str], cc: list[str], bcc: list[str], subject: str, bodies: list[str | None], files: list[str]
) -> str:
    """Return a hash that is the same for a message sent twice: recipients, subject, bodies and files."""
    parts = [sorted(to), sorted(cc), sorted(bcc), subject, bodies, sorted(files)]
    return hashlib.sha256(canonical_json(parts)).hexdigest()
