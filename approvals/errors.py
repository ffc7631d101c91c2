"""What can go wrong when a message is decided; each error carries a sentence for the
reviewer.
"""

from typing import Any

from mirror.errors import ActNotAllowed, DeskError


class StaleDecision(DeskError):
    """A row was no longer in the state that the caller saw."""


class VerdictNotAllowed(DeskError):
    """The ruling does not let this person decide this message now."""


class ReauthenticationNeeded(VerdictNotAllowed):
    """A rule asks whoever approves to prove who they are first."""


class ContentChanged(DeskError):
    """The content is no longer the one that was shown."""

    def __init__(self, sentence: str, *, shown: str, current: str) -> None:
        super().__init__(sentence)
        self.shown = shown
        self.current = current


class InvalidInput(DeskError):
    """What was posted cannot be read; the sentence says what to enter."""


class EditNotPossible(DeskError):
    """A corrected message cannot be sent in place of this one; the sentence says what
    to do.
    """


class RiskUnread(DeskError):
    """The message is high risk, and the person did not say that its serious findings
    were read.
    """


class AlreadyDecided(DeskError):
    """Another decision came first: `decision`, or None when it was made outside the
    desk.
    """

    def __init__(self, sentence: str, *, decision: Any = None) -> None:
        super().__init__(sentence)
        self.decision = decision


class ClaimedByOther(DeskError):
    """Somebody else has claimed the message."""


class EventAlreadyHandled(DeskError):
    """The stored webhook was handled in the meantime, or never needed handling."""


def http_status(error: DeskError | None) -> int:
    """Return 403 where the person may not do it, 422 for invalid input, 409 where the
    message or event has moved on; 200 where nothing went wrong.
    """
    if error is None:
        return 200
    if isinstance(error, InvalidInput):
        return 422
    return 403 if isinstance(error, VerdictNotAllowed | ActNotAllowed) else 409
