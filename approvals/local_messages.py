"""Messages that this desk alone has, such as practice messages: MultiMail has no such
message, and nothing about one is ever carried out.

The feature that makes them registers itself here from its `ready()`. For the desk they
are held like any other, and have `is_local`.
"""

from datetime import datetime
from typing import Protocol

from common.actors import Actor
from mirror.models import Message
from mirror.models.messages import MessageQuerySet


class LocalMessages(Protocol):
    """What the feature that makes local messages does for the desk."""

    # The status of one that is over, such as "Practice message".
    word: str

    def answer(
        self,
        message: Message,
        *,
        actor: Actor,
        outcome: str,
        reason: str,
        seconds_shown: int | None,
    ) -> str:
        """End a locked message by what a person decided, in the caller's transaction;
        return what this person is told.
        """
        ...

    def end_late(self, message: Message) -> None:
        """Have one end soon, instead of being late by its review plan."""
        ...

    def note(self, message: Message, actor: Actor) -> str:
        """Return what the page of a message that is over says of it, as safe HTML."""
        ...

    def end_copies(self, message: Message) -> list[Message]:
        """End and return those that repeat the words of a message, which are being
        erased.
        """
        ...

    def figure(
        self, messages: MessageQuerySet, *, since: datetime, until: datetime
    ) -> tuple[str, str]:
        """Return the name and the value of the feature's line in the report of
        decisions, over these messages.
        """
        ...


# Practice messages are the only ones.
FEATURES: list[LocalMessages] = []


def feature() -> LocalMessages:
    """Return the feature that made the local messages of this desk."""
    return FEATURES[0]
