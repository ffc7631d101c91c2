"""Helps to record ledger entries about a message: builds their details from its
content, its recipients, and who or what started it.
"""

from collections.abc import Mapping
from typing import Any

from audit.actions import TEST
from audit.models import Entry
from audit.recording import record
from common.actors import Actor
from common.fingerprint import Content
from mirror.models import Connection, Message
from mirror.models.messages import NAMED, readable_values


def record_about(action: str, message: "Message", actor: Actor, **more: Any) -> Entry:
    """Append an entry about a message, in the caller's transaction, with the words by
    which it can be searched. `more` goes to `record`.
    """
    return record(action, actor, **message.ledger_subject, **more)


def record_of_connection(
    action: str, connection: Connection, actor: Actor, **details: str
) -> None:
    """Append an entry about a connection, in the caller's transaction."""
    record(action, actor, connection=connection.pk, details=details)


def outcome_of(message: "Message", event: str) -> str:
    """Return the outcome of an entry about this event: of a test message it says that
    nothing was sent.
    """
    return TEST if message.sandbox and event in ("sent", "delivered") else ""


def details_of(message: "Message", *, key: str = "", **more: str) -> dict[str, str]:
    """Return the details of an entry: subject, sender, recipients, trigger, and `more`.
    `key` names the API key with which the message was sent, if it is known.
    """
    return {
        "subject": message.subject,
        "sender": message.sender,
        "recipients": ", ".join(message.recipients),
        # Left out if it is the usual one, outbound.
        "direction": message.direction if message.is_inbound else "",
        "key": key,
        **more,
        **trigger_details(message.trigger),
    }


def origin_details(message: "Message") -> dict[str, str]:
    """Return the details that say who or what started a message, for entries about its
    decision.
    """
    texts = readable_values(message.trigger)
    return {f"trigger.{name}": texts[name] for name in NAMED if name in texts}


def trigger_details(trigger: Mapping[str, Any]) -> dict[str, str]:
    """Return the details of a trigger, with the texts and numbers that the sender
    wrote.

    Each name that the desk knows becomes a detail of its own. All others are put into
    one detail: its name can never be removed from the ledger, and a name that a sender
    invented may be personal.
    """
    texts = readable_values(trigger)
    named = {f"trigger.{name}": value for name, value in texts.items() if name in NAMED}
    other = "; ".join(
        f"{name[:80]}: {value}" for name, value in texts.items() if name not in NAMED
    )
    return named | ({"trigger.other": other} if other else {})


def details_of_content(content: Content, *, number: int) -> dict[str, str]:
    """Return the details of one version of a content: recipients, subject, files and so
    on, but not the text.
    """
    files = []
    for file in content.attachments:
        size = f"{file.size:,} bytes" if file.size else ""
        digest = f"SHA-256 {file.sha256}" if file.sha256 else ""
        facts = ", ".join(filter(None, (file.content_type, size, digest)))
        files.append(f"{file.name or '(no name)'} ({facts or 'nothing else known'})")
    return {
        "version": str(number),
        "subject": content.subject,
        "sender": " ".join(filter(None, (content.sender_name, content.sender))),
        "reply_to": content.reply_to or "",
        "recipients": ", ".join(content.recipients),
        # Left out if all recipients are in To.
        "to": ", ".join(content.to) if content.cc or content.bcc else "",
        "cc": ", ".join(content.cc),
        "bcc": ", ".join(content.bcc),
        "attachments": "\n".join(files),
        "send_at": content.send_at or "",
        # Fields that MultiMail did not show are unknown, not empty.
        "not_shown": ", ".join(content.unseen),
    }
