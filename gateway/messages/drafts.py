"""What a caller wants sent, once every field has been checked, and what a reply takes from its parent."""

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from common.fingerprint import canonical_json
from common.mail_addresses import clean_addresses
from gateway.attachments import File
from gateway.errors import Invalid
from gateway.models import Email
from gateway.states import Direction, GateTiming, Mode
from gateway.text import one_plain_line

# Short enough to stay on one header line: a folded or encoded id would not match.
_MESSAGE_ID = re.compile(r"<(?![^<>]*=\?)[!-;=?-~]{1,180}>", re.ASCII)
MAX_REFERENCES = 20
_MOST_SUBJECT = 998
_ANSWER = re.compile(r"\s*+re\s*+(?:\[\d++\]\s*+)?:", re.IGNORECASE)


@dataclass(frozen=True)
class Parent:
    """What a reply takes from the message that it answers; `message_id` is empty where that one's is unusable."""

    email_id: str
    thread_id: str
    message_id: str = ""
    references: str = ""


@dataclass(frozen=True)
class Draft:
    """A message as its author wants it sent."""

    to: list[str]
    subject: str
    markdown: str
    html: str | None = None
    cc: list[str] = field(default_factory=list)
    bcc: list[str] = field(default_factory=list)
    reply_to: str = ""
    files: tuple[File, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    mode: Mode | None = None
    send_at: datetime | None = None
    gate_timing: GateTiming | None = None
    idempotency_key: str = ""
    parent: Parent | None = None
    # Not in the digest: a client that tries again may sign a new one for the same message.
    agent_identity: str = ""
    # The HTML as it was handed in, where it was simplified, and sentences that say what that changed.
    original_html: str | None = None
    simplified: tuple[str, ...] = ()

    def digest(self) -> str:
        """Return a hash of the content that is the same for a message sent twice."""
        parts = [
            sorted(self.to),
            sorted(self.cc),
            sorted(self.bcc),
            self.subject,
            [self.markdown, self.original_html or self.html],
            sorted(file.sha256 for file in self.files),
        ]
        return hashlib.sha256(canonical_json(parts)).hexdigest()


def recipients_of(email: Email) -> list[str]:
    """Return the recipients of a reply: the author of received mail, or those of our own mail. Raises Invalid."""
    wanted = email.to if email.direction == Direction.OUTBOUND else [email.reply_to or email.from_address]
    try:
        addresses = clean_addresses(wanted)
    except ValueError:
        addresses = []
    if not addresses:
        raise Invalid("The message has no address to reply to.", code="no_reply_address")
    return addresses


def subject_of(email: Email) -> str:
    """Return the subject of a reply: with one `Re:`, and safe in a header."""
    subject = one_plain_line(email.subject)
    return (subject if _ANSWER.match(subject) else f"Re: {subject}")[:_MOST_SUBJECT].rstrip()


def parent_of(email: Email) -> Parent:
    """Return the parent of a reply. References keep the first message of the thread and the latest ones."""
    own = _MESSAGE_ID.fullmatch(email.message_id_header.strip())
    known = _MESSAGE_ID.findall(email.references or email.in_reply_to)
    line = list(dict.fromkeys([*known, *([own[0]] if own else [])]))
    if len(line) > MAX_REFERENCES:
        line = line[:1] + line[1 - MAX_REFERENCES :]
    message_id = own[0] if own else ""
    return Parent(email.pk, email.thread_id, message_id, " ".join(line) if own else "")
