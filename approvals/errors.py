"""The errors that the desk's commands raise; each carries a sentence for the person
who used the command.
"""

from typing import Any

from mirror.errors import DeskError


class StaleDecision(DeskError):
    """A row no longer has the state that the caller saw."""


class VerdictNotAllowed(DeskError):
    """The ruling does not let this person decide this message now."""

    status = 403


class ReauthenticationNeeded(VerdictNotAllowed):
    """A rule asks whoever approves to prove who they are first."""


class ContentChanged(DeskError):
    """The message no longer has the content that the person was shown."""


class InvalidInput(DeskError):
    """What was entered is not valid; the sentence says what to enter instead."""

    status = 422


class EditNotPossible(DeskError):
    """A held message cannot be replaced by an edited version; the sentence says what to
    do instead.
    """


class RiskUnread(DeskError):
    """The person approved a high-risk message without having ticked that they read its
    serious findings, or what a rule of the policy asks to check.
    """


class AlreadyDecided(DeskError):
    """It is too late: the message was decided, edited or ended before. `decision` is
    the desk's decision that came first; None if there is none.
    """

    def __init__(self, sentence: str, *, decision: Any = None) -> None:
        super().__init__(sentence)
        self.decision = decision


class ClaimedByOther(DeskError):
    """Somebody else has claimed the message."""


class EventAlreadyHandled(DeskError):
    """The stored webhook was handled in the meantime, or never needed handling."""
