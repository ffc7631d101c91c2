"""Turns MultiMail's rows and the mirror's messages of a thread into `ThreadMessage`s,
and stores them. No calls.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction

from mirror.models import Message, Thread, ThreadMessage
from mirror.states import MessageState
from mirror.store import content_of, rendered_content, stored_content
from rendering import RenderedMessage, render_message
from upstream.events import read_time

# States of our messages that came or left. Others are waiting or were never sent.
FACTS = (
    MessageState.RECEIVED,
    MessageState.RELEASED,
    MessageState.APPROVED,
    MessageState.SCHEDULED_APPROVED,
    MessageState.SENT,
    MessageState.DELIVERED,
    MessageState.BOUNCED,
    MessageState.COMPLAINED,
)
# The same by MultiMail's statuses. Received mail that is held has arrived nevertheless.
_LEFT = ("sent", "delivered", "bounced")
_NOT_RECEIVED = ("rejected", "cancelled", "deleted", "spam_quarantined", "pending_scan")
_BODIES = ("markdown", "body_markdown", "text_body", "body", "text", "html_body")
_COLUMNS = (
    "direction",
    "status",
    "sender",
    "sender_name",
    "recipients",
    "subject",
    "has_files",
    "at",
    "is_fact",
    "text",
    "is_read",
)
# Longer texts are cut beside a draft; how much is left out is said at the end.
MAX_TEXT = 20_000
MAX_MESSAGES = 100


def message_from_row(row: Mapping[str, Any]) -> ThreadMessage | None:
    """Return the thread's message from a row of MultiMail; None for a row without an id
    or a time.
    """
    written = read_time(
        row.get("received_at") or row.get("created_at") or row.get("timestamp")
    )
    if not row.get("id") or written is None:
        return None
    content = content_of(row)
    status = str(row.get("status") or "")
    direction = "inbound" if row.get("direction") == "inbound" else "outbound"
    is_fact = (
        status in _LEFT if direction == "outbound" else status not in _NOT_RECEIVED
    )
    is_known = has_text(row)
    return ThreadMessage(
        upstream_id=_fit("upstream_id", row["id"]),
        direction=direction,
        status=_fit("status", status),
        sender=_fit("sender", content.sender),
        sender_name=_fit("sender_name", content.sender_name),
        recipients=[*content.to, *content.cc][:100],
        subject=content.subject[:2000],
        text=_shown_text(render_message(content)) if is_known else "",
        is_read=is_known,
        has_files=bool(row.get("has_attachments") or row.get("attachments")),
        at=(is_fact and direction == "outbound" and read_time(row.get("sent_at")))
        or written,
        is_fact=is_fact,
    )


def has_text(row: Mapping[str, Any]) -> bool:
    """Whether a row has the message's text."""
    return any(row.get(name) is not None for name in _BODIES)


def has_come_or_left(message: Message) -> bool:
    """Whether a message of the mirror came or left; received mail that is held has
    arrived nevertheless.
    """
    return message.state in FACTS or (message.is_inbound and message.is_held)


def message_from_mirror(message: Message, *, with_text: bool = True) -> ThreadMessage:
    """Return the thread's message from a message of the mirror; without its text where
    that is not needed.
    """
    content = None
    text = ""
    if with_text and message.revision:
        content = stored_content(message.revision)
        text = _shown_text(rendered_content(message.revision, content))
    is_fact = has_come_or_left(message)
    # When it left is known only if nothing was reported of it since.
    has_just_left = not message.is_inbound and message.state in (
        MessageState.APPROVED,
        MessageState.SENT,
    )
    return ThreadMessage(
        upstream_id=message.upstream_id,
        direction=message.direction,
        status=_fit("status", message.state),
        sender=message.sender or (content.sender if content else ""),
        sender_name=_fit("sender_name", content.sender_name if content else ""),
        recipients=list(message.recipients)[:100],
        subject=message.subject[:2000],
        text=text,
        is_read=content is not None,
        has_files=bool(content and content.attachments),
        at=message.changed_at if has_just_left else message.held_at,
        is_fact=is_fact,
    )


def messages_in(mailbox: int, thread_id: str) -> list[Message]:
    """Return the mirror's messages of one thread, the newest of them."""
    found = Message.objects.in_thread(mailbox, thread_id).select_related("revision")
    return list(found.order_by("-held_at")[:MAX_MESSAGES])


def _shown_text(rendered: RenderedMessage) -> str:
    """Return what a message says as plain text, with everything hidden or invisible in
    it named.
    """
    text = rendered.text.strip()
    more = len(text) - MAX_TEXT
    if more <= 0:
        return text
    return f"{text[:MAX_TEXT]}\n… {more} more characters are left out here."


@transaction.atomic
def store_messages(
    thread: Thread, messages: Iterable[ThreadMessage]
) -> list[ThreadMessage]:
    """Store messages of a thread, and return those that came or left since the last
    time.

    A waiting one that has come or left since is stored again: keys grow in the order in
    which that happened, and a reviewer confirms having read up to a key.
    """
    Thread.objects.select_for_update(no_key=True).get(pk=thread.pk)
    known = {message.upstream_id: message for message in thread.messages.all()}
    news = []
    for message in messages:
        message.thread, old = thread, known.get(message.upstream_id)
        if old is not None and not message.is_read:
            message.text = old.text
            message.is_read = old.is_read
        if old is not None and (old.is_fact or not message.is_fact):
            # A message that came or left stays so, even if an outdated source says
            # otherwise.
            message.is_fact = old.is_fact
            values = {name: getattr(message, name) for name in _COLUMNS}
            if any(getattr(old, name) != value for name, value in values.items()):
                ThreadMessage.objects.filter(pk=old.pk).update(**values)
            continue
        if old is not None:
            old.delete()
        message.save(force_insert=True)
        known[message.upstream_id] = message
        news += [message] if message.is_fact else []
    return news


def _fit(column: str, value: Any) -> str:
    return str(value or "")[
        : getattr(ThreadMessage._meta.get_field(column), "max_length", None)
    ]
