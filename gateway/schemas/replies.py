"""The bodies of requests that answer a message."""

from typing import Self

from pydantic import ConfigDict, Field, model_validator

from gateway.answering import place_of, recipients_of, subject_of
from gateway.letters import Letter
from gateway.models import Email
from gateway.schemas.fields import NamesEmail
from gateway.schemas.send import Composed

_WORDS = "Dear Jane,\n\nit left this morning."


class ReplyIn(Composed):
    """An answer; who gets it, its subject and its thread follow from the message that it answers."""

    model_config = ConfigDict(json_schema_extra={"example": {"markdown": _WORDS}})

    def letter(self, *, parent: Email, header_key: str) -> Letter:
        """Return what is to be sent. Raises Invalid or TooLarge."""
        return self.written(
            to=recipients_of(parent), subject=subject_of(parent), parent=place_of(parent), header_key=header_key
        )


class ReplyFromIn(ReplyIn):
    """An answer that may name the mailbox that it is from."""

    sender: str = Field("", alias="from", max_length=320)
    mailbox: str = Field("", max_length=320)
    mailbox_id: str = Field("", max_length=320)

    def names_mailbox(self) -> str:
        """Return the mailbox as the body names it, or an empty text."""
        return self.sender or self.mailbox or self.mailbox_id


class FlatReplyIn(ReplyFromIn, NamesEmail):
    """An answer that names the message, or only the thread, in its body."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"thread_id": "01JD0000000000000000000000", "body": _WORDS}}
    )

    thread_id: str = Field("", max_length=64)

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not self.thread_id and not self.names_email():
            raise ValueError("thread_id: say which thread or which message to answer.")
        return self
