"""The tables of the policy app: allowlists, gates, rules, plans, standing approvals."""

from policy.models.allowlists import AllowEntry, Allowlist
from policy.models.gates import GateList, GateRefusal
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
from policy.models.standing import (
    SAMPLE_OF,
    StandingApproval,
    StandingUse,
    standing_words,
)

__all__ = [
    "SAMPLE_OF",
    "AllowEntry",
    "Allowlist",
    "DutyTurn",
    "GateList",
    "GateRefusal",
    "Group",
    "KeyOwner",
    "KillSwitch",
    "LadderStep",
    "PolicyVersion",
    "ReviewPlan",
    "StandingApproval",
    "StandingUse",
    "WorkCalendar",
    "standing_words",
]
