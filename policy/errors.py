"""What can go wrong when policy is changed; each error carries a sentence for the
person.
"""

from common.errors import SentenceError


class PolicyError(SentenceError):
    """Root of this app's errors; `sentence` is for people."""


class StaleAllowlist(PolicyError):
    """The list was changed meanwhile."""


class PolicyRefused(PolicyError):
    """The rules or a group cannot be as they were asked for."""


class StalePolicy(PolicyError):
    """The draft or the active version was changed meanwhile."""


class PlanRefused(PolicyError):
    """A calendar or review plan cannot be as it was asked for."""


class StalePlan(PlanRefused):
    """The review plan was changed meanwhile."""
