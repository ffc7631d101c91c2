"""The tables of the policy app: allowlists, gates, rules, plans."""

from policy.models.allowlists import AllowEntry, Allowlist, GateList
from policy.models.rules import (
    DutyTurn,
    Group,
    KeyOwner,
    KillSwitch,
    LadderStep,
    PolicyVersion,
    ReviewPlan,
    WorkCalendar,
)

__all__ = [
    "AllowEntry",
    "Allowlist",
    "DutyTurn",
    "GateList",
    "Group",
    "KeyOwner",
    "KillSwitch",
    "LadderStep",
    "PolicyVersion",
    "ReviewPlan",
    "WorkCalendar",
]
