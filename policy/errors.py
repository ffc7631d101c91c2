"""The errors of commands that change allowlists, the policy, groups, calendars and
review plans, and checks that raise them: that nobody overwrites what they have not
seen, and that no two names look alike. Each carries a sentence to show to the person.
"""

import hashlib

from django.db.models import Model

from common.errors import SentenceError
from risk.lookalikes import looks_like


class PolicyRefused(SentenceError):
    """The rules, a list, a group or a calendar cannot be changed in this way."""

    status = 422


class StalePolicy(SentenceError):
    """What the person wants to change was changed since they saw it: the draft, the
    active version, a list, a group, a calendar, a review plan.
    """


class RuleError(ValueError):
    """A rule or pass is not valid; `sentence` tells a person why, and `field` names the
    field of its form where that is shown.
    """

    def __init__(self, sentence: str, field: str = "name") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.field = field


def seen_state(words: str) -> str:
    """Return a hash of how a row reads, empty if there is none. Forms send it back, so
    that a change of what is no longer as it was shown can be refused.
    """
    return hashlib.sha256(words.encode()).hexdigest()[:16] if words else ""


def check_seen(seen: str, words: str, by: object = "Somebody else") -> None:
    """Raise StalePolicy if `seen` is not the state of what reads so now."""
    if seen != seen_state(words):
        raise StalePolicy(
            f"{by} changed this meanwhile. Now it is: {words or 'gone'}. Check that, then save again."
        )


def check_name(row: Model, name: str) -> None:
    """Raise PolicyRefused if another row of its kind has a name like this."""
    others = type(row)._default_manager.exclude(pk=row.pk)
    if taken := looks_like(name, others.values_list("name", flat=True)):
        raise PolicyRefused(
            f"The {row._meta.verbose_name} “{taken}” already has a name that looks like it."
        )
