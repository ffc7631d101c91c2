"""The errors of commands that change allowlists, the policy, groups, calendars and
review plans. Each carries a sentence to show to the person.
"""

from common.errors import SentenceError


class PolicyError(SentenceError):
    """The base class of this app's errors."""


class StaleAllowlist(PolicyError):
    """The list was changed since the person saw it."""


class PolicyRefused(PolicyError):
    """The rules or a group cannot be changed in this way."""

    status = 422


class StalePolicy(PolicyError):
    """The draft or the active version was changed since the person saw it."""


class PlanRefused(PolicyError):
    """A calendar or review plan cannot be changed in this way."""


class StalePlan(PlanRefused):
    """The review plan or calendar was changed since the person saw it."""
