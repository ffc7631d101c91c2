"""Whether one list of rules is looser than another: a pure function of how rules are stored.

The command that makes a draft of the rules the valid version asks it, and where the answer is yes raises
`people.second_admin.asking.SecondAdminNeeded` unless `wants_second_admin` says that nobody else has to accept it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

Rule = Mapping[str, Any]
# Of these a rule as strict asks at least as much; of any other, exactly the same.
_FLAGS = ("bar_editor", "reauthenticate", "never_in_bulk", "high_risk_page")


def rules_loosen(before: Iterable[Rule], after: Iterable[Rule]) -> bool:
    """Return whether `after` may ask less than `before`, both as `PolicyRule.as_json` stores rules.

    Each rule that is on needs one among the later ones that is on, applies wherever it applied, and asks at least as
    much: the order of rules does not matter, because the strictest wins. In doubt the later list is looser.
    """
    later = [rule for rule in after if rule.get("is_on")]
    return not all(any(_replaces(one, rule) for one in later) for rule in before if rule.get("is_on"))


def _replaces(later: Rule, rule: Rule) -> bool:
    """Whether a rule applies wherever another did, for certain, and asks at least as much."""
    applies = not later["when"] or later["when"] == rule["when"]
    return applies and all(
        asks_as_much(name, later["then"].get(name), asked) for name, asked in rule["then"].items() if asked
    )


def asks_as_much(name: str, later: Any, asked: Any) -> bool:
    """Whether one effect of a rule asks at least as much as another of the same name; None: it is not asked."""
    if later is None:
        return False
    if name == "approvals":
        return all(later.get(group, 0) >= number for group, number in asked.items())
    if name == "expire_minutes":
        return bool(later <= asked)
    if name in ("barred_groups", "office_hours"):
        return all(one in later for one in asked)
    return bool(later) if name in _FLAGS else bool(later == asked)
