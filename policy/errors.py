"""What can go wrong when policy is changed; each error carries a sentence for the person."""

from typing import Any

from common.errors import SentenceError


class PolicyError(SentenceError):
    """Root of this app's errors; `sentence` is for people."""


class KillSwitchNotAllowed(PolicyError):
    """The actor's roles do not cover this scope, or the switch is not in a state for this."""


class AllowlistNotAllowed(PolicyError):
    """The actor is not an admin of the list's whole scope, or the change is impossible."""


class StaleAllowlist(PolicyError):
    """The list was changed meanwhile; `current` is the list as it is now."""

    def __init__(self, sentence: str, *, current: Any) -> None:
        super().__init__(sentence)
        self.current = current


class PolicyNotAllowed(PolicyError):
    """The actor is not an admin of everything."""


class PolicyRefused(PolicyError):
    """The rules or a group cannot be as they were asked for; `field` is the form's field that is wrong."""

    def __init__(self, sentence: str, *, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field


class StalePolicy(PolicyError):
    """The draft or the active version was changed meanwhile."""


class PlanRefused(PolicyError):
    """A calendar or review plan cannot be as it was asked for."""


class StalePlan(PlanRefused):
    """The review plan was changed meanwhile."""
