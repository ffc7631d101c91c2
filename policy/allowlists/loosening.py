"""Whether a change of an allowlist loosens it: a pure function of what the list was and
what it becomes.

Loosening lets more mail out than before: to more people, for longer, or without review.
Doubt counts as loosening.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from policy.allowlists.judgement import OFF, is_weaker

RESTRICTION = "restriction"
Ends = datetime | None


def loosens(
    *,
    kind: str,
    mode_before: str,
    mode_after: str,
    before: Mapping[str, Ends],
    put: Iterable[tuple[str, Ends]],
    has_live_entries: bool,
    is_alone: bool,
) -> bool:
    """Return whether a change of one list loosens it.

    `before` has the ends of the entries that are there under the patterns of `put`.
    `has_live_entries` says whether the list has any that count, and `is_alone` that no
    other list of its kind is in force: their entries count together, so a list that is
    switched on beside others allows its entries in their place too. A change of notes
    or owners, an earlier end, a stricter mode and removing an entry of a restriction do
    not loosen.
    """
    added = any(
        pattern not in before or lasts_longer(ends, than=before[pattern])
        for pattern, ends in put
    )
    if added:
        return True
    if kind != RESTRICTION:
        # A bypass lets its entries out without review, so its strictest mode is off.
        return is_weaker(mode_before, than=mode_after)
    if is_weaker(mode_after, than=mode_before):
        return True
    return (
        mode_before == OFF and mode_after != OFF and has_live_entries and not is_alone
    )


def lasts_longer(ends: Ends, *, than: Ends) -> bool:
    """Whether an entry that ends then lasts longer than one that ends at `than`; None:
    it never ends.
    """
    if than is None:
        return False
    return ends is None or ends > than
