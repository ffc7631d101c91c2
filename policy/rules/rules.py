"""The rules of the policy as values: what a rule is (conditions and effects), how the
effects of several are merged (the strictest wins), how a rule is written as an English
sentence, and how two lists of rules differ. Pure: reads no tables.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self, TypeVar

from policy.rules.conditions import (
    FAMILIES,
    ORIGINS,
    RISKS,
    Conditions,
    Keys,
    as_json,
    exactly,
    from_json,
)
from risk.words import PLACES, read_phrase

MOST_RULES = 200
# How many words and phrases a rule can name.
MOST_WORDS = 100
# In place of a group: any reviewer of the mailbox.
ANY_REVIEWER = 0
MOST_APPROVALS = 20
# How late a message may expire: after a year.
MOST_MINUTES = 60 * 24 * 366


class RuleError(ValueError):
    """A rule is not valid; `sentence` tells a person why."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


@exactly
@dataclass(frozen=True)
class Effects:
    """What a rule asks for. `approvals` has, by key of a group, how many of its members
    must approve, and by `ANY_REVIEWER` how many people in all.

    Members of `barred_groups` may not approve. `reject` is the reason with which the
    rule rejects the message, empty if it does not. `expire_minutes` count from when the
    message was held. All calendars of `office_hours` must be open when it is approved
    and when the decision is carried out. `care`: whoever approves it signs in again
    first, on a page of its own, never in bulk.
    """

    approvals: Mapping[int, int] = field(default_factory=dict)
    barred_groups: Keys = frozenset()
    bar_editor: bool = False
    care: bool = False
    reject: str = ""
    expire_minutes: int | None = None
    office_hours: Keys = frozenset()

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
        """How many people must approve. Each counts as a reviewer, and also for one
        named group at most.
        """
        return max(
            1, self.approvals.get(ANY_REVIEWER, 0), sum(self.named_groups.values())
        )

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked beyond one approval of any reviewer."""
        return merged([self]) == Effects()


def merged(effects: Iterable[Effects]) -> Effects:
    """Return the effects that satisfy all of these: the highest number of approvals,
    all bars and flags, the soonest expiry.

    Of several reasons to reject, the first is taken; otherwise the order does not
    matter.
    """
    every = list(effects)
    approvals: dict[int, int] = {}
    for one in every:
        for group, n in one.approvals.items():
            approvals[group] = max(n, approvals.get(group, 0))
    # A number that the named groups or the desk need anyway is left out, so that
    # effects that ask for the same compare as equal.
    if approvals.get(ANY_REVIEWER, 0) <= max(
        1, sum(n for group, n in approvals.items() if group != ANY_REVIEWER)
    ):
        approvals.pop(ANY_REVIEWER, None)
    expiries = [one.expire_minutes for one in every if one.expire_minutes is not None]
    return Effects(
        approvals=approvals,
        barred_groups=frozenset().union(*(one.barred_groups for one in every)),
        bar_editor=any(one.bar_editor for one in every),
        care=any(one.care for one in every),
        reject=next((one.reject for one in every if one.reject), ""),
        expire_minutes=min(expiries, default=None),
        office_hours=frozenset().union(*(one.office_hours for one in every)),
    )


def is_as_strict(one: Effects, other: Effects) -> bool:
    """Whether a message that satisfies `one` always satisfies `other` too."""
    return merged([one, other]) == merged([one])


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

    def sentence(self, names: "Names") -> str:
        """Return what it says as a sentence."""
        raise NotImplementedError

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
        if (
            self.when.risk not in ("", *RISKS)
            or not self.when.origins <= ORIGINS.keys()
        ):
            raise RuleError("A condition has a value that it cannot have.")
        if self.when.currency and self.when.amount is None:
            raise RuleError("A currency says nothing without an amount.")
        if len(self.when.words) > MOST_WORDS:
            raise RuleError(f"A rule names at most {MOST_WORDS} words.")
        for word in self.when.words:
            try:
                read_phrase(word)
            except ValueError as error:
                raise RuleError(f"“{word[:40]}”: {error}") from None
        numbers = self.then.approvals.values()
        if any(n < 1 for n in numbers) or sum(numbers) > MOST_APPROVALS:
            raise RuleError(
                f"Between 1 and {MOST_APPROVALS} approvals can be asked for."
            )
        if self.then.is_empty:
            raise RuleError(
                f"“{self.name}” asks for nothing beyond the one approval that is always needed."
            )
        return super().checked()

    def sentence(self, names: "Names") -> str:
        return as_sentence(self, names)


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


@dataclass(frozen=True)
class Names:
    """The names of what rules refer to by key, for sentences. What is missing here is
    shown as deleted, by its key.
    """

    mailboxes: Mapping[int, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    people: Mapping[int, str] = field(default_factory=dict)
    lists: Mapping[int, str] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)
    findings: Mapping[str, str] = field(default_factory=dict)
    calendars: Mapping[int, str] = field(default_factory=dict)


def as_sentence(rule: PolicyRule, names: Names) -> str:
    """Return a rule as a sentence: "When a message goes to *.gov, then 2 approvals of
    Finance are needed.".
    """
    conditions = listed(list(_conditions(rule.when, names)))
    when = f"When a message {conditions}" if conditions else "For every message"
    return (
        f"{when}{', then' if conditions else ','} {effects_in_words(rule.then, names)}."
    )


def effects_in_words(then: Effects, names: Names) -> str:
    """Return effects as a part of a sentence: "2 approvals of Finance are needed"."""
    return listed(list(_effects(then, names))) or "one approval is needed"


def outcome_in_words(then: Effects, names: Names) -> str:
    """Return effects as a part of a sentence; of a message that is rejected, only that."""
    return effects_in_words(Effects(reject=then.reject) if then.reject else then, names)


def listed(parts: Sequence[str], word: str = "and") -> str:
    """Return parts joined as in a sentence: "a, b and c"."""
    *others, last = parts or [""]
    return f"{', '.join(others)} {word} {last}" if others else last


def approvals_in_words(approvals: Mapping[int, int], names: Names) -> str:
    """Return who must approve: "2 approvals of Finance and 1 of Legal", or "3 approvals
    with 1 of Finance among them".
    """
    # A number in all that the groups give anyway is left out.
    kept = merged([Effects(approvals)]).approvals or {ANY_REVIEWER: 1}
    (first, number), *others = sorted(kept.items())
    parts = [f"{n} of {_named(names.groups, group, 'group')}" for group, n in others]
    words = f"{number} approval" if number == 1 else f"{number} approvals"
    if first != ANY_REVIEWER:
        words += f" of {_named(names.groups, first, 'group')}"
        return listed([words, *parts])
    return (
        f"{words} with {listed(parts)} among them"
        if parts
        else f"{words} of any reviewer"
    )


# Each condition as a part of a sentence that begins with "When a message".
def _conditions(when: Conditions, names: Names) -> Iterator[str]:
    later = "" if when.only_these else ", or one added to its connection later"
    if when.mailboxes:
        yield f"is in {any_named(names.mailboxes, when.mailboxes, 'mailbox')}{later}"
    if when.keys:
        # A key that sent nothing lately has no name here, but may exist.
        keys = [names.keys.get(one) or one.partition(":")[2] for one in when.keys]
        yield f"comes from the API key {any_of(keys)}{later}"
    if when.key_owners:
        yield f"comes from an API key of {any_named(names.people, when.key_owners, 'person')}"
    if when.origins:
        yield f"comes from {any_of(ORIGINS[one] for one in when.origins)}"
    if when.metadata:
        yield f"has the metadata {when.metadata}, or does not say"
    if when.recipients:
        yield f"goes to {any_of(when.recipients)}"
    if when.recipients_except:
        yield f"goes to somebody other than {any_of(when.recipients_except)}"
    if when.lists:
        yield f"goes to somebody on the allowlist of {any_named(names.lists, when.lists, 'list')}"
    if when.first_contact:
        yield "goes to somebody for the first time"
    if when.recipients_from is not None:
        yield f"goes to at least {when.recipients_from} recipients"
    if when.risk:
        yield "is high risk" if when.risk == "high" else "has any risk"
    if when.findings:
        yield f"has the finding {any_of(names.findings.get(one, one) for one in when.findings)}"
    if when.words:
        yield f"contains {any_of(f'“{one}”' for one in when.words)}"
    if when.amount is not None:
        currency = f" {when.currency}" if when.currency else ""
        yield (
            f"names an amount of at least {when.amount:f}{currency}"
            if when.amount
            else f"names any{currency} amount"
        )
    if when.attachments:
        yield f"has {any_of(FAMILIES.get(one, f'a file of kind {one}') for one in when.attachments)} attached"
    if when.tries_from is not None:
        yield f"is at least try {when.tries_from}"


# Each effect as a part of a sentence: "2 approvals of Finance are needed".
def _effects(then: Effects, names: Names) -> Iterator[str]:
    if then.reject:
        yield f"it is rejected (“{then.reject}”)"
    if then.approvals:
        needed = "is needed" if then.total == 1 else "are needed"
        yield f"{approvals_in_words(then.approvals, names)} {needed}"
    if then.barred_groups:
        yield f"nobody of {any_named(names.groups, then.barred_groups, 'group')} may approve it"
    if then.bar_editor:
        yield "whoever edited it last may not approve it"
    if then.care:
        yield "it is approved with care (after signing in again, on a page of its own, never in bulk)"
    if then.expire_minutes is not None:
        yield f"it expires {duration_in_words(then.expire_minutes)} after it was held"
    for key in sorted(then.office_hours):
        yield f"it is approved and sent only within the hours of {_named(names.calendars, key, 'calendar')}"


def unread_sums_in_words(passages: Sequence[str]) -> str:
    """Return a sentence about sums that could not be read, with the text around them."""
    if not any(passages):
        return "The sums could not be read: rules on sums apply."
    near = listed([f"“{one}”" for one in passages if one])
    return f"A sum could not be read near {near}: rules on sums apply."


def found_in_words(named: Collection[str], places: Mapping[str, str]) -> str:
    """Return the beginning of a sentence about which of the words that a rule names are
    in a message, and where; empty if it names none.
    """
    if not named:
        return ""
    found = [
        f"“{word}” in {PLACES.get(places[word], 'it')}"
        for word in sorted(named)
        if word in places
    ]
    if not found:
        return "it may contain a word that the rule names, so "
    return f"it contains {listed(found)}, so "


def duration_in_words(minutes: int) -> str:
    """Return minutes in the largest unit that divides them: "2 days", "90 minutes"."""
    units = ((60 * 24, "day"), (60, "hour"), (1, "minute"))
    size, unit = next(one for one in units if minutes % one[0] == 0)
    n = minutes // size
    return f"{n} {unit}{'' if n == 1 else 's'}"


def any_of(parts: Iterable[str]) -> str:
    """Return parts joined as in a sentence: "a, b or c"."""
    return listed(sorted(parts), "or")


def any_named(names: Mapping[Any, str], keys: Iterable[Any], what: str) -> str:
    """Return the names of what these keys mean, joined; `what` names what is gone."""
    return any_of(_named(names, one, what) for one in keys)


def _named(names: Mapping[Any, str], key: object, what: str) -> str:
    return names.get(key) or f"{what} {key} (deleted)"


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
    owner = (
        f" Owner: {names.people.get(rule.owner) or 'somebody who left'}."
        if rule.owner
        else ""
    )
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
