"""Answers about the account, its mailboxes, and what waits for a code."""

from typing import Any

from gateway.answers.base import Answer


class MailboxAnswer(Answer):
    """One mailbox."""

    id: str
    address: str
    display_name: str
    oversight_mode: str


class MailboxChanged(MailboxAnswer):
    """One mailbox, changed."""

    status: str


class Mailboxes(Answer):
    """All mailboxes of a key."""

    mailboxes: list[MailboxAnswer]


class AccountAnswer(Answer):
    """The account, and what the calling key may do."""

    id: str
    scopes: list[str]
    mailboxes: list[dict[str, Any]]


class AccountChanged(Answer):
    """The account, changed."""

    id: str
    status: str
    name: str
    hold_all: bool


class PendingApproval(Answer):
    """Not done yet: an operator has to confirm it, and the same request is repeated with the code."""

    status: str
    code: str
    message: str
    id: str


class UpgradeAsked(Answer):
    """The wish is stored; an operator has its code."""

    id: str
    status: str
    mailbox_id: str
    target_mode: str
    expires_at: str
    message: str


class UpgradeRequests(Answer):
    """What waits for a code, with the codes."""

    requests: list[dict[str, Any]]
