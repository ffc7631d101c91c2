"""Answers about messages."""

from gateway.answers.base import Answer


class Sent(Answer):
    """A message was accepted, or had been before."""

    id: str
    email_id: str
    message_id: str
    thread_id: str
    status: str
    oversight_status: str
    oversight_mode: str
    message: str


class Message(Answer):
    """One email."""

    id: str
    mailbox_id: str
    direction: str
    to_addresses: list[str]
    subject: str
    status: str
    thread_id: str
    received_at: str


class Messages(Answer):
    """A page of emails."""

    emails: list[Message]
    cursor: str | None


class PendingMessages(Answer):
    """Held emails: the same list under three names."""

    pending: list[Message]
    emails: list[Message]
    messages: list[Message]
    count: int
    cursor: str | None


class SpamLabel(Answer):
    """A received message was called spam, or not."""

    id: str
    status: str
    user_label: str


class Decided(Answer):
    """A decision was taken."""

    id: str
    status: str
    decision: str
    action: str
    reason: str | None
    decided_at: str
    decided_by: str
    message: str
