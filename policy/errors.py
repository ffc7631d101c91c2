"""What can go wrong when policy is changed; each error carries a sentence for the person."""

from typing import Any


class PolicyError(Exception):
    """Root of this app's errors; `sentence` is for people."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class KillSwitchNotAllowed(PolicyError):
    """The actor's roles do not reach this scope, or the switch is in no state for this."""


class AllowlistNotAllowed(PolicyError):
    """The actor is no admin of all that the list is for, or the change is none that can be made."""


class StaleAllowlist(PolicyError):
    """The list was changed meanwhile; `current` is how it stands now."""

    def __init__(self, sentence: str, *, current: Any) -> None:
        super().__init__(sentence)
        self.current = current
