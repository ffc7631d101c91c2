"""Answers about the account and its mailboxes."""

from typing import Any

from gateway.answers.base import Answer


class MailboxAnswer(Answer):
    """One mailbox."""

    id: str
    address: str
    display_name: str
    oversight_mode: str


class Mailboxes(Answer):
    """All mailboxes of a key."""

    mailboxes: list[MailboxAnswer]


class AccountAnswer(Answer):
    """The account, and what the calling key may do."""

    id: str
    scopes: list[str]
    mailboxes: list[dict[str, Any]]
