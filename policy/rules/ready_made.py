"""Three policies to begin with. Each can be read, and loaded as a draft; docs/policy.md
says when to take which.

They name groups by their names; those that do not exist yet are made without members
when one is loaded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import time
from decimal import Decimal

from policy.rules.conditions import Conditions, Hours
from policy.rules.rules import ANY_REVIEWER, Effects, PolicyRule

# In place of groups' keys, until it is loaded.
FINANCE = 1
LEGAL = 2
CLIENT_LEADS = 3
GROUPS: Mapping[int, str] = {
    FINANCE: "Finance",
    LEGAL: "Legal",
    CLIENT_LEADS: "Client leads",
}
_OFFICE = Hours.on((0, 1, 2, 3, 4), time(8), time(18), "UTC")
_DAY = 24 * 60


@dataclass(frozen=True)
class ReadyMade:
    """A policy to begin with. `rules` have the keys of GROUPS in place of groups'."""

    name: str
    title: str
    about: str
    rules: tuple[PolicyRule, ...]

    @property
    def groups(self) -> dict[int, str]:
        """The groups that its rules name."""
        keys = {
            key
            for one in self.rules
            for key in (*one.then.named_groups, *one.then.barred_groups)
        }
        return {key: GROUPS[key] for key in sorted(keys)}

    def rules_with(self, groups: Mapping[int, int]) -> tuple[PolicyRule, ...]:
        """Return its rules with the keys of these groups in place of those of GROUPS."""
        found = []
        for one in self.rules:
            approvals = one.then.approvals.items()
            then = replace(
                one.then,
                approvals={groups.get(key, key): n for key, n in approvals},
                barred_groups=frozenset(groups[key] for key in one.then.barred_groups),
            )
            found.append(replace(one, then=then))
        return tuple(found)


def _rule(
    number: int, name: str, when: Conditions, then: Effects, note: str = ""
) -> PolicyRule:
    return PolicyRule(id=f"ready{number}", name=name, note=note, when=when, then=then)


_TWO = {ANY_REVIEWER: 2}

READY_MADE = {
    one.name: one
    for one in (
        ReadyMade(
            "small-team",
            "Small team",
            "Everybody reviews, and one approval is enough for most messages. Only what can do real harm needs a "
            "second look.",
            (
                _rule(
                    1,
                    "High risk needs a second look",
                    Conditions(risk="high"),
                    Effects(approvals=_TWO, never_in_bulk=True, high_risk_page=True),
                ),
                _rule(
                    2,
                    "Large amounts",
                    Conditions(amount=Decimal(1000)),
                    Effects(approvals=_TWO),
                    "Change the amount to what a mistake may cost.",
                ),
                _rule(
                    3,
                    "Many recipients",
                    Conditions(recipients_from=10),
                    Effects(never_in_bulk=True, reauthenticate=True),
                ),
                _rule(
                    4,
                    "Programs are never sent",
                    Conditions(findings=frozenset({"attachment_runs_code"})),
                    Effects(
                        reject="Attachments that run code are never sent. Send a link instead."
                    ),
                ),
            ),
        ),
        ReadyMade(
            "agency",
            "Agency",
            "Agents write in the name of clients. The people who know the client approve what is new or risky, nothing "
            "leaves at night, and nothing waits for ever.",
            (
                _rule(
                    1,
                    "First contact",
                    Conditions(first_contact=True),
                    Effects(approvals={CLIENT_LEADS: 1}, never_in_bulk=True),
                    "Whoever knows the client approves the first message to somebody.",
                ),
                _rule(
                    2,
                    "High risk",
                    Conditions(risk="high"),
                    Effects(
                        approvals={CLIENT_LEADS: 1, ANY_REVIEWER: 2},
                        high_risk_page=True,
                        bar_editor=True,
                    ),
                ),
                _rule(
                    3,
                    "Money",
                    Conditions(amount=Decimal(0)),
                    Effects(approvals={CLIENT_LEADS: 1}, bar_editor=True),
                ),
                _rule(
                    4,
                    "Only in office hours",
                    Conditions(origins=frozenset({"agent"})),
                    Effects(office_hours=(_OFFICE,)),
                    "Set your own time zone.",
                ),
                _rule(
                    5,
                    "Nothing waits for ever",
                    Conditions(),
                    Effects(expire_minutes=3 * _DAY),
                ),
                _rule(
                    6,
                    "Third try",
                    Conditions(tries_from=3),
                    Effects(approvals=_TWO),
                    "What was returned twice deserves a second pair of eyes.",
                ),
            ),
        ),
        ReadyMade(
            "regulated",
            "Regulated",
            "Four eyes on everything that leaves, by named groups where it is about money or contracts. Whoever "
            "approves confirms who they are.",
            (
                _rule(
                    1,
                    "Four eyes on everything",
                    Conditions(),
                    Effects(approvals=_TWO, bar_editor=True, expire_minutes=2 * _DAY),
                ),
                _rule(
                    2,
                    "Payments",
                    Conditions(amount=Decimal(1000)),
                    Effects(
                        approvals={FINANCE: 2}, reauthenticate=True, never_in_bulk=True
                    ),
                ),
                _rule(
                    3,
                    "Bank details",
                    Conditions(findings=frozenset({"payment_details"})),
                    Effects(
                        approvals={FINANCE: 1}, reauthenticate=True, high_risk_page=True
                    ),
                ),
                _rule(
                    4,
                    "Documents",
                    Conditions(attachments=frozenset({"document"})),
                    Effects(approvals={LEGAL: 1}, never_in_bulk=True),
                ),
                _rule(
                    5,
                    "High risk",
                    Conditions(risk="high"),
                    Effects(
                        approvals={LEGAL: 1, ANY_REVIEWER: 2},
                        reauthenticate=True,
                        high_risk_page=True,
                    ),
                ),
                _rule(
                    6,
                    "Secrets and programs are never sent",
                    Conditions(
                        findings=frozenset({"secret_in_body", "attachment_runs_code"})
                    ),
                    Effects(
                        reject="Keys, passwords and programs are never sent by mail."
                    ),
                ),
                _rule(
                    7,
                    "Only in office hours",
                    Conditions(),
                    Effects(office_hours=(_OFFICE,)),
                    "Set your own time zone.",
                ),
            ),
        ),
    )
}
