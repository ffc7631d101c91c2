"""The rules of the policy as values: what a rule is (conditions and effects), how it is
written as an English sentence, and how two lists of rules differ. Pure: reads no tables.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

from mirror.oversight_modes import NAMES as MODES
from policy.rules.conditions import (
    MOST_WORDS,
    RISKS,
    Conditions,
    InMailbox,
    OfConnection,
    as_json,
    exactly,
    from_json,
    read_word,
)
from policy.rules.effects import MOST_APPROVALS, MOST_MINUTES, Effects, is_as_strict
from policy.rules.wording import ORIGINS, Names, listed

MOST_RULES = 500


class RuleError(ValueError):
    """A rule or pass is not valid; `sentence` tells a person why, and `field` names the
    field of its form where that is shown.
    """

    def __init__(self, sentence: str, field: str = "name") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.field = field


@dataclass(frozen=True)
class Part:
    """What a rule and a pass have in common.

    The `id` stays the same from version to version of the policy; `owner` is the key of
    the person who is responsible for it.
    """

    id: str
    name: str
    owner: int | None = None
    note: str = ""
    is_on: bool = True
    when: Conditions = field(default_factory=Conditions)

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Return what `as_json` wrote. Raises RuleError for unknown fields and
        impossible values.
        """
        try:
            return from_json(cls, value).checked()
        except ValueError as error:
            raise RuleError(str(error)) from None

    def checked(self) -> Self:
        """Return it itself. Raises RuleError if it has an impossible value."""
        if not (self.id.isalnum() and self.id.isascii()):
            raise RuleError("A rule needs an id of letters and digits.")
        if not self.name.strip():
            raise RuleError("A rule needs a name.")
        return self

    def sentence(self, names: Names) -> str:
        """Return what it says as a sentence."""
        raise NotImplementedError

    def owned_by(self, names: Names) -> str:
        """Return the name of its owner; empty if nobody is."""
        if self.owner is None:
            return ""
        return names.people.get(self.owner) or "somebody who left"

    def as_json(self) -> dict[str, Any]:
        """Return it as it is stored."""
        return as_json(self)


One = TypeVar("One", bound=Part)


@exactly
@dataclass(frozen=True)
class PolicyRule(Part):
    """One rule: messages that meet the conditions `when` need what `then` asks for."""

    then: Effects = field(default_factory=Effects)

    def checked(self) -> Self:
        when, then = self.when, self.then
        if when.risk not in RISKS or not when.origins <= ORIGINS.keys():
            raise RuleError("A condition has a value that it cannot have.")
        if when.currency and when.amount is None:
            raise RuleError(
                "Write the amount that is in this currency; 0 is any amount.", "amount"
            )
        if len(when.words) > MOST_WORDS:
            raise RuleError(f"A rule names at most {MOST_WORDS} words.")
        try:
            list(map(read_word, when.words))
        except ValueError as error:
            raise RuleError(str(error)) from None
        numbers = then.approvals.values()
        if any(n < 1 for n in numbers) or sum(numbers) > MOST_APPROVALS:
            raise RuleError(
                f"Between 1 and {MOST_APPROVALS} approvals can be asked for together.",
                "approvals_0",
            )
        if (then.expire_minutes or 0) > MOST_MINUTES:
            raise RuleError("A message can wait for a year at most.", "expire_number")
        if then.is_empty:
            raise RuleError(
                f"“{self.name}” asks for nothing beyond the one approval that is always needed.",
                "approvals_0",
            )
        is_of_mailboxes = {*map(type, when.asked)} <= {OfConnection, InMailbox}
        if then.least_mode and not (then.least_mode in MODES and is_of_mailboxes):
            raise RuleError(
                "The oversight of a mailbox goes by connections and mailboxes only.",
                "least_mode",
            )
        return super().checked()

    def sentence(self, names: Names) -> str:
        conditions = listed(self.when.in_words(names))
        when = (
            f"When a message {conditions}, then" if conditions else "For every message,"
        )
        return f"{when} {self.then.in_words(names)}."


# In force while no version is active; the first draft begins with it.
FIRST_RULE = PolicyRule("edited", "Edited mail", then=Effects(bar_editor=True))


def parts_from_json(kind: type[One], value: object) -> tuple[One, ...]:
    """Return the rules or passes of a stored version in their order. Raises RuleError
    if one is not valid, or two have the same id.
    """
    if not isinstance(value, list) or len(value) > MOST_RULES:
        raise RuleError(f"A policy is a list of at most {MOST_RULES} rules.")
    parts = tuple(map(kind.from_json, value))
    if len({one.id for one in parts}) < len(parts):
        raise RuleError("Two rules have the same id.")
    return parts


Rules = tuple[PolicyRule, ...]
# The rules of a policy, then its passes.
Parts = tuple[Part, ...]
# The buttons beside a rule or pass of the draft: what each does, and its label.
ACTS = {"off": "Switch off", "on": "Switch on", "delete": "Delete"}


@dataclass(frozen=True)
class Difference:
    """How one rule or pass differs between two policies: `what` is "Added", "Removed",
    "Changed", "Switched on" or "Switched off". `before` and `after` are its texts; one
    is empty if the rule was added or removed.
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
        """The texts before and after. The name is left out of each, unless the rule had
        another name then.
        """
        prefix = f"{self.name}: "
        return self.before.removeprefix(prefix), self.after.removeprefix(prefix)


def find(parts: Iterable[One], part_id: str) -> One | None:
    """Return the rule or pass with this id; None if there is none."""
    return next((one for one in parts if one.id == part_id), None)


def with_part(parts: tuple[One, ...], part: One) -> tuple[One, ...]:
    """Return the parts with this one in place of the one that has its id; if none has,
    with this one added at the end.
    """
    found = find(parts, part.id)
    if found is None:
        return (*parts, part)
    at = parts.index(found)
    return (*parts[:at], part, *parts[at + 1 :])


def after_act(parts: Parts, part_id: str, act: str) -> Parts:
    """Return the parts after one of ACTS was done to the one with this id. Raises
    RuleError if there is none.
    """
    part = find(parts, part_id)
    if part is None:
        raise RuleError("This is no longer in the draft.")
    if act == "delete":
        return tuple(one for one in parts if one is not part)
    return with_part(parts, replace(part, is_on=act == "on"))


def described(rule: Part, names: Names) -> str:
    """Return a rule or pass as one line: name, whether it is off, its sentence, owner and
    note.
    """
    owner = f" Owner: {rule.owned_by(names)}." if rule.owner else ""
    note = f" Note: {rule.note}" if rule.note else ""
    text = f"{rule.name}{'' if rule.is_on else ' (off)'}: {rule.sentence(names)}{owner}{note}"
    # Without the line ends of a note: its lines could look like other rules.
    return " ".join(text.split())


def differences(
    before: Sequence[Part], after: Sequence[Part], names: Names
) -> list[Difference]:
    """Return which rules and passes were added or changed, in the order of `after`, then which
    were removed.
    """
    changes = []
    for rule in after:
        old = find(before, rule.id)
        if old is None:
            changes.append(Difference("Added", rule.name, "", described(rule, names)))
        elif old != rule:
            what = "Changed"
            if replace(old, is_on=rule.is_on) == rule:
                what = "Switched on" if rule.is_on else "Switched off"
            sides = (described(old, names), described(rule, names))
            changes.append(Difference(what, rule.name, *sides))
    for rule in before:
        if find(after, rule.id) is None:
            changes.append(Difference("Removed", rule.name, described(rule, names), ""))
    return changes


def rules_loosen(before: Iterable[PolicyRule], after: Iterable[PolicyRule]) -> bool:
    """Whether `after` may ask less for some message than `before`.

    It does not if for each rule of `before` that is on, there is one in `after` that is
    on, has the same conditions, more words or none, and asks for at least as much. The
    order of rules does not matter, because the strictest wins. In doubt the answer is
    True.
    """
    later = [rule for rule in after if rule.is_on]
    for rule in before:
        if rule.is_on and not any(
            one.when.covers(rule.when) and is_as_strict(one.then, rule.then)
            for one in later
        ):
            return True
    return False


def in_text(found: Iterable[Difference], side: str) -> str:
    """Return the texts of one `side` ("before" or "after") of differences, one a line."""
    return "\n".join(filter(None, (getattr(one, side) for one in found)))
