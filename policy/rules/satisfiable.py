"""Finds rules that nobody can satisfy, that contradict each other, or that name what is
not there any more. Pure.

Asked when rules are saved, and daily by `doctor`: people leave after a rule was
written.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count

from policy.calendars import is_open
from policy.rules.conditions import Calendars
from policy.rules.demand import can_be_completed
from policy.rules.rules import (
    Effects,
    Names,
    PolicyRule,
    approvals_in_words,
    listed,
    merged,
)

_MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
_STEP = timedelta(minutes=15)
# How many sets of rules are looked at; each takes up to a few milliseconds, while
# somebody waits for the page.
MOST_CHECKS = 500


@dataclass(frozen=True)
class Staff:
    """Who is there: the active reviewers of each mailbox, the members of each group,
    and what rules may name.

    Members who left, or lost their role, are still in their group; they are no
    reviewers of any mailbox.
    """

    reviewers: Mapping[int, frozenset[int]] = field(default_factory=dict)
    groups: Mapping[int, frozenset[int]] = field(default_factory=dict)
    people: frozenset[int] = frozenset()
    lists: frozenset[int] = frozenset()
    calendars: Calendars = field(default_factory=dict)
    names: Names = field(default_factory=Names)


@dataclass(frozen=True)
class Problem:
    """What is wrong with a rule, by its id, as a sentence. `blocks`: what it applies to
    can be approved by nobody.
    """

    rule: str
    sentence: str
    blocks: bool = False


def problems(rules: Sequence[PolicyRule], staff: Staff) -> list[Problem]:
    """Return what is wrong with rules that are on, in their order."""
    on = [rule for rule in rules if rule.is_on]
    found: list[Problem] = []
    for rule in on:
        found += [*_missing(rule, staff), *_unsatisfiable(rule, staff)]
    # What is named already would only be named again with others.
    broken = {problem.rule for problem in found if problem.blocks}
    rest = [rule for rule in on if rule.id not in broken]
    return [*found, *_contradictions(rest, staff)]


def _missing(rule: PolicyRule, staff: Staff) -> Iterator[Problem]:
    """Yield what a rule names and that is not there any more."""

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
    for one in sorted(rule.when.lists - staff.lists):
        yield problem(f"an allowlist that was removed ({one})")
    for one in sorted(rule.calendars - set(staff.calendars)):
        yield problem(f"a calendar that was removed ({one})")
    for group in sorted(rule.then.named_groups.keys() & staff.groups.keys()):
        if left := sorted(staff.groups[group] - staff.people):
            gone = ", ".join(names.people.get(one, str(one)) for one in left)
            yield problem(
                f"{names.groups.get(group, f'group {group}')}, in which {gone} cannot approve any more"
            )


def _unsatisfiable(rule: PolicyRule, staff: Staff) -> Iterator[Problem]:
    """Yield that too few people may approve what a rule applies to, and where."""
    if rule.then.reject:
        return
    mailboxes = set(staff.reviewers)
    if rule.when.mailboxes:
        mailboxes &= rule.when.mailboxes
    where = [
        one for one in sorted(mailboxes) if not _is_possible(rule.then, one, staff)
    ]
    if where:
        asked = approvals_in_words(rule.then.approvals or {0: 1}, staff.names)
        sentence = f"“{rule.name}” asks for {asked}, and too few people may give that in {_named(where, staff)}."
        yield Problem(rule.id, sentence, blocks=True)
    if rule.then.office_hours and not _ever_open(rule.then, staff):
        yield Problem(
            rule.id, f"“{rule.name}” names hours that are never open.", blocks=True
        )


class _TooManyChecks(Exception):
    """So many demands were compared that the rest is left out."""


def _contradictions(rules: Sequence[PolicyRule], staff: Staff) -> Iterator[Problem]:
    """Yield the smallest sets of rules that can apply together, each of which can be
    satisfied alone, but not all.

    If people can satisfy all rules of a mailbox together, then any of them; so sets are
    looked for only where they cannot. Mailboxes of the same reviewers and rules are
    asked once.
    """
    asking = [rule for rule in rules if not rule.then.reject]
    alike: dict[tuple[tuple[str, ...], frozenset[int]], list[int]] = {}
    for mailbox, reviewers in sorted(staff.reviewers.items()):
        names = tuple(
            rule.id
            for rule in asking
            if not rule.when.mailboxes or mailbox in rule.when.mailboxes
        )
        alike.setdefault((names, reviewers), []).append(mailbox)
    checks = count()

    def fits(rules: Sequence[PolicyRule], mailbox: int) -> bool:
        """Whether people can give what these rules ask together, within hours in which
        all of them are open.
        """
        if next(checks) >= MOST_CHECKS:
            raise _TooManyChecks
        together = merged(rule.then for rule in rules)
        is_open = not together.office_hours or _ever_open(together, staff)
        return is_open and _is_possible(together, mailbox, staff)

    where = dict[tuple[str, ...], list[int]]()
    by_id = {rule.id: rule for rule in asking}
    for (names, _), mailboxes in alike.items():
        here = [by_id[name] for name in names]
        try:
            while here and not fits(here, mailboxes[0]):
                found = _smallest(here, partial(fits, mailbox=mailboxes[0]))
                where.setdefault(tuple(rule.id for rule in found), []).extend(mailboxes)
                here.remove(found[-1])
        except _TooManyChecks:
            sentence = f"Not all combinations of rules were checked for {_named(mailboxes, staff)}: there are too many."
            yield Problem(here[-1].id, sentence)
            break
    for ids, places in where.items():
        found = [by_id[one] for one in ids]
        named = listed([f"“{rule.name}”" for rule in found])
        together = merged(rule.then for rule in found)
        if together.office_hours and not _ever_open(together, staff):
            why = "their hours are never open together."
        else:
            why = f"nobody can satisfy {'both' if len(found) == 2 else 'all of them'} in {_named(places, staff)}."
        yield Problem(
            found[-1].id, f"{named} contradict each other: {why}", blocks=True
        )


def _smallest(
    rules: Sequence[PolicyRule], fits: Callable[[Sequence[PolicyRule]], bool]
) -> list[PolicyRule]:
    """Return rules of which all are needed to contradict each other, out of rules that
    do, in their order.

    The last of the shortest beginning that contradicts is needed; with it kept, so is
    the last of the next shortest.
    """
    needed: list[PolicyRule] = []
    left = list(rules)
    while not needed or fits(needed):
        before = bisect_left(
            range(len(left) - 1),
            True,
            key=lambda n: not fits([*left[: n + 1], *needed]),
        )
        needed.insert(0, left[before])
        left = left[:before]
    return needed


def _is_possible(effects: Effects, mailbox: int, staff: Staff) -> bool:
    return can_be_completed(
        effects, staff.reviewers.get(mailbox, frozenset()), staff.groups
    )


def _ever_open(effects: Effects, staff: Staff) -> bool:
    """Whether there is a quarter of an hour of a week without holidays in which all
    hours are open.
    """
    calendars = [staff.calendars.get(one) for one in effects.office_hours]
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
