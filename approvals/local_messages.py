"""The interface of a feature that makes local messages: messages that exist only at
this desk, to train its reviewers. MultiMail does not have them, and decisions about them
are never carried out.

The feature adds itself to FEATURES from its `ready()`. In the queue a local message
looks like any other held message; its field `is_local` is set.
"""

from datetime import datetime
from typing import Protocol

from common.actors import Actor
from mirror.models import Message
from mirror.models.messages import MessageQuerySet


class LocalMessages(Protocol):
    """What the desk asks of the feature that makes local messages."""

    # The status shown for a local message that is over.
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
        """End a locked local message that a person decided, in the caller's
        transaction; return the notice for this person.
        """
        ...

    def end_late(self, message: Message) -> None:
        """Have a local message end soon. Called when it is late by its review plan."""
        ...

    def note(self, message: Message, actor: Actor) -> str:
        """Return the note on the page of a local message that is over, as safe HTML."""
        ...

    def end_copies(self, message: Message) -> list[Message]:
        """End and return the local messages that are copies of a message whose text is
        being erased.
        """
        ...

    def figure(
        self, messages: MessageQuerySet, *, since: datetime, until: datetime
    ) -> tuple[str, str]:
        """Return name and value of the figure that the feature adds to the report of
        decisions: about its local messages among these, in this time span.
        """
        ...


# Empty, or the one feature that is installed.
FEATURES: list[LocalMessages] = []


def feature() -> LocalMessages:
    """Return the feature that made the local messages of this desk."""
    return FEATURES[0]
