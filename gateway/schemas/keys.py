"""The bodies of requests about API keys."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from gateway.models.accounts import Scope
from gateway.schemas.confirming import Confirmable
from gateway.schemas.fields import Line

_NAMES = ", ".join(Scope.values)


def _known(scopes: list[str]) -> list[str]:
    scopes = list(dict.fromkeys(scope.strip().lower() for scope in scopes))
    if unknown := [scope for scope in scopes if scope not in Scope.values]:
        raise ValueError(f"there is no scope {unknown[0][:40]!a}; there are {_NAMES}.")
    if {Scope.SEND, Scope.OVERSIGHT} <= set(scopes):
        raise ValueError("one key cannot have both send and oversight: it would approve its own mail. Make two keys.")
    return scopes


Scopes = Annotated[list[str], Field(min_length=1, max_length=20), AfterValidator(_known)]
MailboxNames = Annotated[list[Annotated[str, Field(max_length=320)]], Field(min_length=1, max_length=100)]
KeyName = Annotated[Line, Field(min_length=1, max_length=100)]


class KeyIn(Confirmable):
    """A key to make. Without `mailboxes` it is good for all of them."""

    model_config = ConfigDict(json_schema_extra={"example": {"name": "Support bot", "scopes": ["read", "send"]}})

    name: KeyName
    scopes: Scopes | None = None
    mailboxes: MailboxNames | None = None
    sandbox: bool | None = None


class KeyPatch(Confirmable):
    """What to change about a key. `mailboxes` null: all of them."""

    model_config = ConfigDict(json_schema_extra={"example": {"name": "Support bot 2"}})

    name: KeyName | None = None
    scopes: Scopes | None = None
    mailboxes: MailboxNames | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.said():
            raise ValueError("name: say what to change: name, scopes or mailboxes.")
        return self

    def said(self) -> dict[str, Any]:
        """Return the fields that were given; only `mailboxes` may be null."""
        given = self.model_dump(include={"name", "scopes", "mailboxes"}, exclude_unset=True)
        return {name: value for name, value in given.items() if value is not None or name == "mailboxes"}
