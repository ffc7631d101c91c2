"""Finds rules that nobody can satisfy, that contradict each other, or that name
something that was deleted. Pure: reads no tables.

It runs when rules are saved, and daily in `doctor`, because people may leave after a
rule was written.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from policy.calendars import Calendars, is_open
from policy.rules.demand import can_be_completed
from policy.rules.effects import Effects, approvals_in_words, merged
from policy.rules.rules import PolicyRule
from policy.rules.wording import Names, listed

# Any Monday: opening hours are compared over the week that begins there.
_MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
_STEP = timedelta(minutes=15)


@dataclass(frozen=True)
class Staff:
    """The active reviewers of each mailbox, the members of each group, the active
    people, and the lists and calendars that exist; all by key.

    Members who left or lost their role are still in their groups, but are reviewers of
    no mailbox.
    """

    reviewers: Mapping[int, frozenset[int]] = field(default_factory=dict)
    groups: Mapping[int, frozenset[int]] = field(default_factory=dict)
    people: frozenset[int] = frozenset()
    lists: frozenset[int] = frozenset()
    calendars: Calendars = field(default_factory=dict)
    names: Names = field(default_factory=Names)


@dataclass(frozen=True)
class Problem:
    """What is wrong with the rule of this id, as a sentence. `blocks`: nobody can
    approve the messages that it applies to.
    """

    rule: str
    sentence: str
    blocks: bool = False


def problems(rules: Sequence[PolicyRule], staff: Staff) -> list[Problem]:
    """Return what is wrong with those of the rules that are on."""
    on = [rule for rule in rules if rule.is_on]
    found: list[Problem] = []
    for rule in on:
        found += [*_missing(rule, staff), *_unsatisfiable(rule, staff)]
    # A rule that nobody can satisfy would contradict every other one too.
    broken = {problem.rule for problem in found if problem.blocks}
    rest = [rule for rule in on if rule.id not in broken]
    return [*found, *_contradictions(rest, staff)]


def _missing(rule: PolicyRule, staff: Staff) -> Iterator[Problem]:
    """Yield each group, person, mailbox, list and calendar that a rule names and that
    was deleted or has left.
    """

    def problem(what: str) -> Problem:
        return Problem(rule.id, f"“{rule.name}” names {what}.")

    names = staff.names
    for group in sorted(
        {*rule.then.named_groups, *rule.then.barred_groups} - set(staff.groups)
    ):
        yield problem(f"a group that was deleted ({group})")
    if rule.owner is not None and rule.owner not in staff.people:
        yield Problem(
            rule.id,
            f"{names.people.get(rule.owner, 'The owner')}, the owner of “{rule.name}”, has left.",
        )
    for person in sorted(rule.when.key_owners - staff.people):
        yield problem(f"{names.people.get(person, 'somebody')}, who has left")
    for mailbox in sorted(rule.when.mailboxes - set(staff.reviewers)):
        yield problem(
            f"a mailbox that was removed ({names.mailboxes.get(mailbox, mailbox)})"
        )
    for one in sorted((rule.when.lists | rule.when.lists_except) - staff.lists):
        yield problem(f"an allowlist that was removed ({one})")
    for one in sorted(rule.then.office_hours - set(staff.calendars)):
        yield problem(f"a calendar that was removed ({one})")
    for group in sorted(rule.then.named_groups.keys() & staff.groups.keys()):
        if left := sorted(staff.groups[group] - staff.people):
            their_names = ", ".join(names.people.get(one, str(one)) for one in left)
            yield problem(
                f"{names.groups.get(group, f'group {group}')}, in which {their_names} cannot approve any more"
            )


def _unsatisfiable(rule: PolicyRule, staff: Staff) -> Iterator[Problem]:
    """Yield if too few people may approve, and in which mailboxes; and if the hours of
    a rule are never open.
    """
    if rule.then.reject:
        return
    mailboxes = set(staff.reviewers)
    if rule.when.mailboxes:
        mailboxes &= rule.when.mailboxes
    failing = [
        one for one in sorted(mailboxes) if not _is_possible(rule.then, one, staff)
    ]
    if failing:
        asked = approvals_in_words(rule.then.approvals or {0: 1}, staff.names)
        sentence = f"“{rule.name}” asks for {asked}, and too few people may give that in {_named(failing, staff)}."
        yield Problem(rule.id, sentence, blocks=True)
    if not _ever_open(rule.then, staff):
        yield Problem(
            rule.id, f"“{rule.name}” names hours that are never open.", blocks=True
        )


def _contradictions(rules: Sequence[PolicyRule], staff: Staff) -> Iterator[Problem]:
    """Yield which rules of a mailbox cannot be met together, though each can alone; one
    such set of each mailbox, and one problem for all mailboxes that have the same.
    """
    by_id = {rule.id: rule for rule in rules}
    found: dict[tuple[str, ...], list[int]] = {}
    for mailbox in sorted(staff.reviewers):
        clashing = [
            rule
            for rule in rules
            if not rule.then.reject
            if not rule.when.mailboxes or mailbox in rule.when.mailboxes
        ]
        if _fits(clashing, mailbox, staff):
            continue
        # Leave out each without which they still cannot be met.
        for rule in tuple(clashing):
            others = [one for one in clashing if one is not rule]
            if not _fits(others, mailbox, staff):
                clashing = others
        if len(clashing) > 1:
            found.setdefault(tuple(one.id for one in clashing), []).append(mailbox)
    for ids, places in found.items():
        those = [by_id[one] for one in ids]
        named = listed([f"“{one.name}”" for one in those])
        why = "their hours are never open together."
        if _ever_open(merged(one.then for one in those), staff):
            why = f"nobody can satisfy {'both' if len(those) == 2 else 'all of them'} in {_named(places, staff)}."
        yield Problem(
            those[-1].id, f"{named} contradict each other: {why}", blocks=True
        )


def _fits(rules: Sequence[PolicyRule], mailbox: int, staff: Staff) -> bool:
    """Whether people can give what these rules ask together, within hours in which all
    of them are open.
    """
    together = merged(rule.then for rule in rules)
    return _ever_open(together, staff) and _is_possible(together, mailbox, staff)


def _is_possible(effects: Effects, mailbox: int, staff: Staff) -> bool:
    return can_be_completed(
        effects, staff.reviewers.get(mailbox, frozenset()), staff.groups
    )


def _ever_open(effects: Effects, staff: Staff) -> bool:
    """Whether all calendars of the office hours are open at the same time at some point
    of a week, checked each quarter of an hour. Holidays are ignored.
    """
    calendars = [staff.calendars.get(one) for one in effects.office_hours]
    if not calendars:
        return True
    weeks = [replace(one, holidays={}) for one in calendars if one is not None]
    instants = (_MONDAY + _STEP * number for number in range(7 * 24 * 4))
    return len(weeks) == len(calendars) and any(
        all(is_open(one, at) for one in weeks) for at in instants
    )


def _named(mailboxes: Sequence[int], staff: Staff) -> str:
    shown = [staff.names.mailboxes.get(one, f"mailbox {one}") for one in mailboxes[:3]]
    return ", ".join(shown) + (
        f" and {len(mailboxes) - 3} more" if len(mailboxes) > 3 else ""
    )
