"""What a rule asks for, and how several are merged: the strictest wins. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from policy.rules.hours import Hours

# In place of a group: any reviewer of the mailbox.
ANY_REVIEWER = 0
MOST_APPROVALS = 20
MOST_MINUTES = 60 * 24 * 366


@dataclass(frozen=True)
class Effects:
    """What is asked: so many approvals by group, who may not approve, and how it is
    approved.

    `reject` is the reason with which the rule rejects, empty where it does not.
    `expire_minutes` count from when the message was held. Where there are
    `office_hours`, all of them must be open when it is approved and carried out.
    """

    approvals: Mapping[int, int] = field(default_factory=dict)
    barred_groups: frozenset[int] = frozenset()
    bar_editor: bool = False
    reauthenticate: bool = False
    never_in_bulk: bool = False
    high_risk_page: bool = False
    reject: str = ""
    expire_minutes: int | None = None
    office_hours: tuple[Hours, ...] = ()

    @cached_property
    def named_groups(self) -> dict[int, int]:
        """How many approvals each named group must give."""
        return {
            group: n
            for group, n in sorted(self.approvals.items())
            if group != ANY_REVIEWER
        }

    @cached_property
    def total(self) -> int:
        """How many people must approve. Each counts for one named group, and always as
        a reviewer.
        """
        return max(
            1, self.approvals.get(ANY_REVIEWER, 0), sum(self.named_groups.values())
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked beyond one approval of any reviewer."""
        return merged([self]) == Effects()


def merged(effects: Iterable[Effects]) -> Effects:
    """Return what satisfies all of them: the most of each number, every bar and flag,
    and the soonest expiry.

    Their order decides only which reason a rejection gives: the first.
    """
    found = list(effects)
    approvals: dict[int, int] = {}
    for one in found:
        for group, n in one.approvals.items():
            approvals[group] = max(n, approvals.get(group, 0))
    # What the named groups and the desk ask for anyway is left out, so that equal
    # demands are equal.
    if approvals.get(ANY_REVIEWER, 0) <= max(
        1, sum(n for group, n in approvals.items() if group != ANY_REVIEWER)
    ):
        approvals.pop(ANY_REVIEWER, None)
    expiries = [one.expire_minutes for one in found if one.expire_minutes is not None]
    hours = {each for one in found for each in one.office_hours}
    return Effects(
        approvals=approvals,
        barred_groups=frozenset().union(*(one.barred_groups for one in found)),
        bar_editor=any(one.bar_editor for one in found),
        reauthenticate=any(one.reauthenticate for one in found),
        never_in_bulk=any(one.never_in_bulk for one in found),
        high_risk_page=any(one.high_risk_page for one in found),
        reject=next((one.reject for one in found if one.reject), ""),
        expire_minutes=min(expiries, default=None),
        office_hours=tuple(
            sorted(hours, key=lambda one: (one.calendar, one.zone, one.weekly))
        ),
    )


def is_as_strict(one: Effects, other: Effects) -> bool:
    """Whether whatever satisfies `one` satisfies `other` too."""
    return merged([one, other]) == merged([one])
