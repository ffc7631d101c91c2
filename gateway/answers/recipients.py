"""Answers about whom mail may go to: allowlists, refusals, contacts, suppressed addresses."""

from typing import Any

from gateway.answers.base import Answer


class AllowlistEntryAnswer(Answer):
    """One entry; an expired one names nobody any more."""

    pattern: str
    expires_at: str | None
    note: str | None
    live: bool
    expired: bool


class AllowlistAnswer(Answer):
    """One list of one mailbox."""

    mailbox_id: str
    kind: str
    mode: str
    version: int
    entries: list[AllowlistEntryAnswer]
    updated_at: str | None


class RefusalAnswer(Answer):
    """A message that was kept out."""

    id: str
    mailbox_id: str
    key_id: str
    recipients: list[str]
    refused_recipients: list[str]
    rule: str
    metadata: dict[str, Any]
    created_at: str


class Refusals(Answer):
    """A page of refusals."""

    refusals: list[RefusalAnswer]
    cursor: str | None


class ContactAnswer(Answer):
    """Somebody the account knows; `created_at` is in milliseconds since 1970."""

    id: str
    name: str
    email: str
    tags: list[str]
    mailbox: str | None
    created_at: int


class Contacts(Answer):
    """A page of contacts."""

    contacts: list[ContactAnswer]
    cursor: str | None


class ContactDeleted(Answer):
    """A contact is gone."""

    id: str
    deleted: bool


class SuppressionAnswer(Answer):
    """An address that gets nothing any more."""

    id: str
    email_address: str
    reason: str
    mailbox_id: str | None
    created_at: str


class Suppressions(Answer):
    """A page of suppressed addresses."""

    suppressions: list[SuppressionAnswer]
    cursor: str | None


class SuppressionLifted(Answer):
    """An address is written to again."""

    email_address: str
    status: str
