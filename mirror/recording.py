"""Ledger entries about a message, and their details: content, recipients, and who or
what started it.
"""

from collections.abc import Mapping
from typing import Any

from audit.models import Entry
from audit.recording import record
from common.actors import Actor
from common.fingerprint import Content
from mirror.models import Message
from mirror.models.messages import NAMED, readable_values

MAX_TRIGGERS = 30


def record_about(action: str, message: "Message", actor: Actor, **more: Any) -> Entry:
    """Append an entry on a message, in the caller's transaction, with the words by
    which a search finds it.
    """
    return record(
        action,
        actor,
        connection=message.connection_id,
        message=message.public_id,
        words=message.ledger_words(),
        **more,
    )


def details_of(message: "Message", *, key: str = "", **more: str) -> dict[str, str]:
    """Return the details of an entry; `key` is what it was sent with, where MultiMail
    says so.
    """
    return {
        "subject": message.subject,
        "sender": message.sender,
        "recipients": ", ".join(message.recipients),
        # Only where it is not the usual one.
        "direction": message.direction if message.is_inbound else "",
        "key": key,
        **more,
        **trigger_details(message.trigger),
    }


def origin_details(message: "Message") -> dict[str, str]:
    """Return the details about who or what started a message, for entries that say how
    it was decided.
    """
    return {f"trigger.{name}": value for name, value in message.origin.items()}


def trigger_details(trigger: Mapping[str, Any]) -> dict[str, str]:
    """Return the details about the trigger: texts and numbers as the sender wrote them.

    Common names become names of details; the sender's other names and values become one
    text: the name of a detail is never erased from the ledger, and a name that a sender
    invents may be personal.
    """
    texts = readable_values(dict(list(trigger.items())[:MAX_TRIGGERS]))
    named = {f"trigger.{name}": value for name, value in texts.items() if name in NAMED}
    other = "; ".join(
        f"{name[:80]}: {value}" for name, value in texts.items() if name not in NAMED
    )
    return named | ({"trigger.other": other} if other else {})


def details_of_content(content: Content, *, number: int) -> dict[str, str]:
    """Return the details of one version: recipients, subject and so on, but not its
    text.
    """
    files = []
    for file in content.attachments:
        size = f"{file.size:,} bytes" if file.size else ""
        digest = f"SHA-256 {file.sha256}" if file.sha256 else ""
        known = ", ".join(filter(None, (file.content_type, size, digest)))
        files.append(f"{file.name or '(no name)'} ({known or 'nothing else known'})")
    return {
        "version": str(number),
        "subject": content.subject,
        "sender": " ".join(filter(None, (content.sender_name, content.sender))),
        "reply_to": content.reply_to or "",
        "recipients": ", ".join(content.recipients),
        # Only where there are other recipients than those in To.
        **({"to": ", ".join(content.to)} if content.cc or content.bcc else {}),
        "cc": ", ".join(content.cc),
        "bcc": ", ".join(content.bcc),
        "attachments": "\n".join(files),
        "send_at": content.send_at or "",
        # Fields that MultiMail did not show are unknown, not empty.
        "not_shown": ", ".join(content.unseen),
    }
