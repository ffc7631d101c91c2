"""The root of the desk's errors, and those of the mirror. Each has a sentence for
people, which pages show.
"""

from common.errors import SentenceError


class DeskError(SentenceError):
    """The root of the desk's errors; `sentence` is for people."""


class InvalidTransition(DeskError):
    """A state machine was asked for a step that it does not have."""


class ActNotAllowed(DeskError):
    """The person may not do this; mostly because of their roles."""

    status = 403


class ThreadMovedOn(DeskError):
    """Messages of the thread came after the draft, and the person did not confirm
    having read them.
    """
