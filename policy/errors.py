"""The errors of commands that change allowlists, the policy, groups, calendars and
review plans. Each carries a sentence to show to the person.
"""

from common.errors import SentenceError


class PolicyError(SentenceError):
    """The base class of this app's errors."""


class StaleAllowlist(PolicyError):
    """The list was changed since the person saw it."""


class PolicyRefused(PolicyError):
    """The rules, a list, a group or a calendar cannot be changed in this way."""

    status = 422


class StalePolicy(PolicyError):
    """What the person wants to change was changed since they saw it: the draft, the
    active version, a list, a group, a calendar, a review plan.
    """
