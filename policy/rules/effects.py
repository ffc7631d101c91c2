"""What a rule asks for, and how several are merged: the strictest wins. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from policy.rules.fields import check_fields, flag, positive, text, whole_numbers
from policy.rules.hours import Hours

# In place of a group: any reviewer of the mailbox.
ANY_REVIEWER = 0
MOST_APPROVALS = 20
MOST_MINUTES = 60 * 24 * 366
_FLAGS = ("bar_editor", "reauthenticate", "never_in_bulk", "high_risk_page")


@dataclass(frozen=True)
class Effects:
    """What is asked: so many approvals by group, who may not approve, and how it is approved.

    `reject` is the reason with which the rule rejects, empty where it does not. `expire_minutes` count from when the
    message was held. Where there are `office_hours`, all of them must be open when it is approved and carried out.
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
        return {group: n for group, n in sorted(self.approvals.items()) if group != ANY_REVIEWER}

    @cached_property
    def total(self) -> int:
        """How many people must approve. Each counts for one named group, and always as a reviewer."""
        return max(1, self.approvals.get(ANY_REVIEWER, 0), sum(self.named_groups.values()))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked beyond one approval of any reviewer."""
        return merged([self]) == Effects()

    @classmethod
    def from_json(cls, value: object) -> "Effects":
        """Return the effects that `as_json` wrote. Raises ValueError with a sentence."""
        stored = check_fields(value, cls, "The effects of a rule")
        hours = stored.get("office_hours", [])
        if not isinstance(hours, list):
            raise ValueError("office_hours is a list of hours.")
        return cls(
            approvals=_approvals(stored.get("approvals", {})),
            barred_groups=whole_numbers(stored, "barred_groups"),
            **{name: flag(stored, name) for name in _FLAGS},
            reject=text(stored, "reject", most=300),
            expire_minutes=positive(stored, "expire_minutes", most=MOST_MINUTES),
            office_hours=tuple(dict.fromkeys(map(Hours.from_json, hours))),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the effects as they are stored: only what is asked."""
        written: dict[str, Any] = {
            "approvals": {str(group): n for group, n in sorted(self.approvals.items())},
            "barred_groups": sorted(self.barred_groups),
            **{name: getattr(self, name) for name in _FLAGS},
            "reject": self.reject,
            "expire_minutes": self.expire_minutes,
            "office_hours": [one.as_json() for one in self.office_hours],
        }
        return {name: one for name, one in written.items() if one}


def merged(effects: Iterable[Effects]) -> Effects:
    """Return what satisfies all of them: the most of each number, every bar and flag, and the soonest expiry.

    Their order decides only which reason a rejection gives: the first.
    """
    found = list(effects)
    approvals: dict[int, int] = {}
    for one in found:
        for group, n in one.approvals.items():
            approvals[group] = max(n, approvals.get(group, 0))
    # What the named groups and the desk ask for anyway is left out, so that equal demands are equal.
    if approvals.get(ANY_REVIEWER, 0) <= max(1, sum(n for group, n in approvals.items() if group != ANY_REVIEWER)):
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
        office_hours=tuple(sorted(hours, key=lambda one: (one.calendar, one.zone, one.weekly))),
    )


def is_as_strict(one: Effects, other: Effects) -> bool:
    """Whether whatever satisfies `one` satisfies `other` too."""
    return merged([one, other]) == merged([one])


def _approvals(value: object) -> dict[int, int]:
    if not isinstance(value, Mapping):
        raise ValueError("approvals says how many each group must give.")
    found = {}
    for group, n in value.items():
        if not str(group).isdecimal() or type(n) is not int or not 1 <= n <= MOST_APPROVALS:
            raise ValueError(f"A group gives between 1 and {MOST_APPROVALS} approvals.")
        found[int(group)] = n
    if sum(found.values()) > MOST_APPROVALS:
        raise ValueError(f"No more than {MOST_APPROVALS} approvals can be asked for.")
    return found
