"""What a caller wants sent, once every field has been checked, and what a reply takes
from its parent.
"""

import hashlib
import re
from typing import Any

from django.utils import timezone

from common.fingerprint import canonical_json
from common.identifiers import ulid
from common.mail_addresses import clean_addresses, domain_of
from gateway.attachments import File
from gateway.errors import Invalid
from gateway.models import ApiKey, Email, Mailbox
from gateway.states import Direction, Status
from gateway.text import one_plain_line

# Short enough to stay on one header line: a folded or encoded id would not match.
_MESSAGE_ID = re.compile(r"<(?![^<>]*=\?)[!-;=?-~]{1,180}>", re.ASCII)
MAX_REFERENCES = 20
_MOST_SUBJECT = 998
_ANSWER = re.compile(r"\s*+re\s*+(?:\[\d++\]\s*+)?:", re.IGNORECASE)


def content_digest(email: Email, files: tuple[File, ...]) -> str:
    """Return a hash of the content that is the same for a message sent twice.

    Without `agent_identity`: a client that tries again may sign a new one for the same
    message.
    """
    parts = [
        sorted(email.to),
        sorted(email.cc),
        sorted(email.bcc),
        email.subject,
        [email.markdown, email.original_html or email.html],
        sorted(file.sha256 for file in files),
    ]
    return hashlib.sha256(canonical_json(parts)).hexdigest()


def new_email(
    *, key: ApiKey, mailbox: Mailbox, thread: dict[str, str], **content: Any
) -> Email:
    """Return the row of a new message with this content, not stored; `thread` is empty
    for one that begins a thread.
    """
    pk = ulid()
    return Email(
        id=pk,
        account=key.account,
        mailbox=mailbox,
        direction=Direction.OUTBOUND,
        status=Status.PENDING_SCAN,
        sandbox=key.sandbox,
        sent_by_key=key,
        created_at=timezone.now(),
        from_address=mailbox.address,
        # The name is part of what the recipient sees, so a later change of the mailbox
        # must not reach held mail.
        from_name=mailbox.display_name,
        message_id_header=f"<{pk.lower()}@{domain_of(mailbox.address)}>",
        **(thread or {"thread_id": ulid()}),
        **content,
    )


def recipients_of(email: Email) -> list[str]:
    """Return the recipients of a reply: the author of received mail, or those of our
    own mail. Raises Invalid.
    """
    wanted = email.to
    if email.direction == Direction.INBOUND:
        wanted = [email.reply_to or email.from_address]
    try:
        if addresses := clean_addresses(wanted):
            return addresses
    except ValueError:
        pass
    raise Invalid("The message has no address to reply to.", code="no_reply_address")


def subject_of(email: Email) -> str:
    """Return the subject of a reply: with one `Re:`, and safe in a header."""
    subject = one_plain_line(email.subject)
    if not _ANSWER.match(subject):
        subject = f"Re: {subject}"
    return subject[:_MOST_SUBJECT].rstrip()


def thread_after(email: Email) -> dict[str, str]:
    """Return by what fields a reply to `email` is in its thread.

    References keep the first message of the thread and the latest ones. Both headers
    are empty where the id of the message is unusable.
    """
    own = _MESSAGE_ID.fullmatch(email.message_id_header.strip())
    if own is None:
        return {"thread_id": email.thread_id}
    earlier = _MESSAGE_ID.findall(email.references or email.in_reply_to)
    line = list(dict.fromkeys([*earlier, own[0]]))
    if len(line) > MAX_REFERENCES:
        line = line[:1] + line[1 - MAX_REFERENCES :]
    return {
        "thread_id": email.thread_id,
        "in_reply_to": own[0],
        "references": " ".join(line),
    }
