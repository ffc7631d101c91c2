"""Answers about API keys."""

from gateway.answers.base import Answer


class KeyAnswer(Answer):
    """One key, without its text."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    mailboxes: list[str] | None
    sandbox: bool
    created_at: str
    last_used_at: str | None
    is_active: bool


class KeyMade(KeyAnswer):
    """A new key; its text is shown this once."""

    api_key: str
    key: str


class KeyChanged(KeyAnswer):
    """A key, changed."""

    status: str


class Keys(Answer):
    """All keys, revoked ones too."""

    api_keys: list[KeyAnswer]
