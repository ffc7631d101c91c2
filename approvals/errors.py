"""What can go wrong when a message is decided; each error carries a sentence for the reviewer."""

from typing import Any


class ApprovalsError(Exception):
    """Root of this app's errors; `sentence` is for people."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class InvalidTransition(ApprovalsError):
    """A state machine was asked for a step that it does not have."""


class StaleDecision(ApprovalsError):
    """A row was no longer in the state that the caller saw."""


class VerdictNotAllowed(ApprovalsError):
    """The ruling does not let this person decide this message now."""


class ContentChanged(ApprovalsError):
    """The content is no longer the one that was shown."""

    def __init__(self, sentence: str, *, shown: str, current: str) -> None:
        super().__init__(sentence)
        self.shown = shown
        self.current = current


class ThreadMovedOn(ApprovalsError):
    """Letters of the thread came after the draft, and the person did not say that they were read."""


class RiskUnread(ApprovalsError):
    """The message is high risk, and the person did not say that its serious findings were read."""


class AlreadyDecided(ApprovalsError):
    """Somebody was first; `decision` is theirs, None when it was made outside the desk."""

    def __init__(self, sentence: str, *, decision: Any = None) -> None:
        super().__init__(sentence)
        self.decision = decision


class ClaimedByOther(ApprovalsError):
    """Somebody else has taken the message on; `holder` is their key, for whoever wants to take it over from them."""

    def __init__(self, sentence: str, *, holder: int) -> None:
        super().__init__(sentence)
        self.holder = holder


class ActNotAllowed(ApprovalsError):
    """This person's roles do not let them do this here."""


class EventAlreadyHandled(ApprovalsError):
    """The kept webhook was dealt with in the meantime, or never needed it."""


class ChangeRefused(ApprovalsError):
    """MultiMail did not take a change of the account, or was not asked: nothing of it happened."""


class ChangeNotOffered(ChangeRefused):
    """MultiMail does not know what was to be changed, or does not offer the call."""


class CodeWanted(ChangeRefused):
    """A person who runs MultiMail has to confirm the change: the same request goes again with their code."""


class ChangeUnknown(ApprovalsError):
    """The call for a change may have had its effect, and only looking tells."""


class ConnectionNotChanged(ApprovalsError):
    """What an admin wanted of a connection cannot be done as it is now; nothing was changed."""


class AccountConnected(ConnectionNotChanged):
    """The account has a connection already: by a second one each of its messages would wait twice."""
