"""What commands check that change a named row of the policy: that nobody overwrites
what they have not seen, and that no two names look alike.
"""

import hashlib

from policy.errors import PolicyRefused, StalePolicy
from policy.models import Allowlist, Group, WorkCalendar
from risk.lookalikes import looks_like


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


def check_name(row: Allowlist | Group | WorkCalendar, name: str) -> None:
    """Raise PolicyRefused if another row of its kind has a name like this."""
    others = type(row)._default_manager.exclude(pk=row.pk)
    if taken := looks_like(name, others.values_list("name", flat=True)):
        raise PolicyRefused(
            f"The {row._meta.verbose_name} “{taken}” already has a name that looks like it."
        )
