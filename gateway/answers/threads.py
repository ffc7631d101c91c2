"""Answers about threads."""

from gateway.answers.base import Answer
from gateway.answers.messages import Message


class Thread(Answer):
    """A conversation, oldest message first."""

    thread_id: str
    message_count: int
    participants: list[str]
    last_activity: str
    has_unanswered_inbound: bool
    truncated: bool
    emails: list[Message]
