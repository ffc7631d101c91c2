"""What can go wrong with the mirror; each error carries a sentence for people."""

from common.errors import SentenceError


class DeskError(SentenceError):
    """Root of the desk's errors; `sentence` is for people."""


class InvalidTransition(DeskError):
    """A state machine was asked for a step that it does not have."""


class ActNotAllowed(DeskError):
    """This person's roles do not let them do this here."""


class ThreadMovedOn(DeskError):
    """Messages of the thread came after the draft, and the person did not confirm
    having read them.
    """
