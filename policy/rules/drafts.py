"""What can be done with the rules of a draft, and what differs between two policies, as
sentences. Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from policy.rules.rules import Names, PolicyRule, RuleError, as_sentence, is_as_strict

Rules = tuple[PolicyRule, ...]
# What a button beside a rule does, and its label.
ACTS = {
    "up": "Move up",
    "down": "Move down",
    "copy": "Copy",
    "off": "Switch off",
    "on": "Switch on",
    "delete": "Delete",
}


@dataclass(frozen=True)
class Difference:
    """What one rule was before and is after; one of them is empty where there was none.
    `what` is a word for it.
    """

    what: str
    name: str
    before: str
    after: str

    @property
    def tone(self) -> str:
        """Its colour on a page."""
        return {"Added": "green", "Removed": "rose"}.get(self.what, "blue")

    @property
    def sides(self) -> tuple[str, str]:
        """What it was before and is after, without the name where that is its name
        still.
        """
        prefix = f"{self.name}: "
        return self.before.removeprefix(prefix), self.after.removeprefix(prefix)


def find(rules: Iterable[PolicyRule], rule_id: str) -> PolicyRule | None:
    """Return the rule with this id; None where there is none."""
    return next((one for one in rules if one.id == rule_id), None)


def with_rule(rules: Rules, rule: PolicyRule) -> Rules:
    """Return the rules with this one in the place of the one with its id; at the end
    where there is none.
    """
    if find(rules, rule.id) is None:
        return (*rules, rule)
    return tuple(rule if one.id == rule.id else one for one in rules)


def arranged(rules: Rules, rule_id: str, act: str, *, new_id: str) -> Rules:
    """Return the rules after one of ACTS; a copy has the id `new_id`, is off, and
    stands behind its original.

    Raises RuleError where there is no such rule or act.
    """
    rule = find(rules, rule_id)
    if rule is None:
        raise RuleError("This rule is no longer in the draft.")
    place = rules.index(rule)
    others = tuple(one for one in rules if one is not rule)
    if act == "delete":
        return others
    if act in ("up", "down"):
        place = max(0, place - 1) if act == "up" else place + 1
        return (*others[:place], rule, *others[place:])
    if act in ("on", "off"):
        return with_rule(rules, replace(rule, is_on=act == "on"))
    if act == "copy":
        copy = replace(rule, id=new_id, name=f"{rule.name[:70]} (copy)", is_on=False)
        return (*rules[: place + 1], copy, *rules[place + 1 :])
    raise RuleError("This cannot be done with a rule.")


def described(rule: PolicyRule, names: Names) -> str:
    """Return all of a rule as text: its sentence, whether it is off, who answers for
    it, and its note.
    """
    owner = (
        f" Owner: {names.people.get(rule.owner) or 'somebody who left'}."
        if rule.owner
        else ""
    )
    note = f" Note: {rule.note}" if rule.note else ""
    return f"{rule.name}{'' if rule.is_on else ' (off)'}: {as_sentence(rule, names)}{owner}{note}"


def differences(
    before: Sequence[PolicyRule], after: Sequence[PolicyRule], names: Names
) -> list[Difference]:
    """Return what was added, changed and removed, in the order of the rules after, and
    whether the order changed.
    """
    found = []
    for rule in after:
        old = find(before, rule.id)
        if old is None:
            found.append(Difference("Added", rule.name, "", described(rule, names)))
        elif old != rule:
            what = "Changed"
            if replace(old, is_on=rule.is_on) == rule:
                what = "Switched on" if rule.is_on else "Switched off"
            sides = (described(old, names), described(rule, names))
            found.append(Difference(what, rule.name, *sides))
    for rule in before:
        if find(after, rule.id) is None:
            found.append(Difference("Removed", rule.name, described(rule, names), ""))
    orders = [
        [one.id for one in side if find(other, one.id)]
        for side, other in ((before, after), (after, before))
    ]
    if orders[0] != orders[1]:
        in_words = ["; ".join(one.name for one in side) for side in (before, after)]
        found.append(Difference("Order", "Order of the rules", *in_words))
    return found


def rules_loosen(before: Iterable[PolicyRule], after: Iterable[PolicyRule]) -> bool:
    """Whether `after` may ask less of some message than `before`.

    Each rule that is on needs one among the later ones that is on, applies wherever it
    applied, and asks at least as much: the order of rules does not matter, because the
    strictest wins. In doubt the later list is looser.
    """
    later = [rule for rule in after if rule.is_on]
    for rule in before:
        is_replaced = not rule.is_on or any(
            (one.when.is_empty or one.when == rule.when)
            and is_as_strict(one.then, rule.then)
            for one in later
        )
        if not is_replaced:
            return True
    return False


def in_text(found: Iterable[Difference], side: str) -> str:
    """Return the `before` or the `after` of differences as one text for the ledger."""
    return "\n".join(filter(None, (getattr(one, side) for one in found)))
