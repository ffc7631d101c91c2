"""Finds rules that nobody can satisfy, alone or together. Only `read_staff` reads tables.

It runs when rules are saved, and daily in `doctor`, because people may leave after a
rule was written.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from django.utils.text import get_text_list

from mirror.models import Mailbox
from people.models import Grant
from policy.calendars import Calendars, all_calendars, next_common_opening
from policy.models import Group
from policy.rules.conditions import Names
from policy.rules.demand import progress
from policy.rules.facts import active_policy, names_for
from policy.rules.rules import Effects, PolicyRule, merged

# Any Monday: whether calendars are ever open together is looked at from there.
_MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Staff:
    """The active reviewers of each mailbox and the members of each group, by key; the
    calendars, and the names of all.

    Members who left or lost their role are still in their groups, but are reviewers of
    no mailbox.
    """

    reviewers: Mapping[int, frozenset[int]]
    groups: Mapping[int, frozenset[int]]
    calendars: Calendars
    names: Names

    def can_give(self, effects: Effects, mailbox: int | None) -> bool:
        """Whether the reviewers of a mailbox could give the approvals that are asked
        for; of one that is not known, those of all mailboxes.
        """
        people = self.reviewers.get(mailbox or 0)
        if people is None:
            people = frozenset[int]().union(*self.reviewers.values())
        barred = (self.groups.get(one, frozenset()) for one in effects.barred_groups)
        givers = people.difference(*barred)
        return progress(effects, givers, self.groups).is_complete


def read_staff(names: Names) -> Staff:
    """Return who can approve in which mailbox, and the groups."""
    of_scope = defaultdict[tuple[int | None, int | None], set[int]](set)
    for grant in Grant.objects.filter(role="reviewer", person__is_active=True):
        of_scope[grant.connection_id, grant.mailbox_id].add(grant.person_id)
    return Staff(
        reviewers={
            one.pk: frozenset(
                of_scope[None, None]
                | of_scope[one.connection_id, None]
                | of_scope[None, one.pk]
            )
            for one in Mailbox.objects.at_work().order_by("pk")
        },
        groups={
            one.pk: frozenset(member.pk for member in one.members.all())
            for one in Group.objects.prefetch_related("members")
        },
        calendars=all_calendars(),
        names=names,
    )


# By the ids of rules, why nobody can approve the messages to which they apply, as
# sentences.
Problems = Mapping[str, Sequence[str]]


def problems_now() -> Problems:
    """Return what is wrong with the rules of the active version. Raises RuleError if
    they cannot be read.
    """
    policy = active_policy()
    return problems(policy.rules, read_staff(names_for())) if policy.number else {}


def problems(rules: Sequence[PolicyRule], staff: Staff) -> Problems:
    """Return which of the rules nobody can meet, alone or together."""
    by_id = {rule.id: rule for rule in rules}
    # By the ids of such rules, the mailboxes in which nobody can.
    unmet = defaultdict[tuple[str, ...], list[int]](list)
    for mailbox in sorted(staff.reviewers):
        together = []
        for rule in rules:
            is_about_it = not rule.when.mailboxes or mailbox in rule.when.mailboxes
            if rule.then.reject or not is_about_it:
                continue
            if _fits([rule], mailbox, staff):
                together.append(rule)
            else:
                unmet[(rule.id,)].append(mailbox)
        if clashing := _clashing(together, mailbox, staff):
            unmet[tuple(one.id for one in clashing)].append(mailbox)
    found = defaultdict[str, list[str]](list)
    for ids, mailboxes in unmet.items():
        together = [by_id[one] for one in ids]
        named = get_text_list([f"“{one.name}”" for one in together], "and")
        shown = [staff.names.name_of("mailboxes", one) for one in mailboxes[:3]]
        if len(mailboxes) > 3:
            shown.append(f"{len(mailboxes) - 3} more")
        where = get_text_list(shown, "and")
        asked = merged(one.then for one in together).in_words(staff.names)
        found[ids[-1]].append(f"Nobody can meet {named} in {where}: {asked}.")
    return found


def _clashing(
    rules: Sequence[PolicyRule], mailbox: int, staff: Staff
) -> list[PolicyRule]:
    """Return rules of which each is needed so that they cannot be met together; none if
    all can be.
    """
    clashing: list[PolicyRule] = []

    def is_too_much(first: int) -> bool:
        return not _fits([*rules[:first], *clashing], mailbox, staff)

    if not is_too_much(len(rules)):
        return clashing
    while not is_too_much(0):
        # The last rule of the shortest beginning that is too much clashes with those
        # found before. Searched by halves: a policy may have hundreds of rules.
        number = bisect_left(range(len(rules)), True, key=is_too_much)
        clashing.insert(0, rules[number - 1])
        rules = rules[: number - 1]
    return clashing


def _fits(rules: Sequence[PolicyRule], mailbox: int, staff: Staff) -> bool:
    """Whether people can give what these rules ask together, within hours in which all
    of them are open, if there were no holidays.
    """
    together = merged(rule.then for rule in rules)
    calendars = map(staff.calendars.get, sorted(together.office_hours))
    weeks = tuple(one and replace(one, holidays={}) for one in calendars)
    is_ever_open = next_common_opening(weeks, _MONDAY) is not None
    return is_ever_open and staff.can_give(together, mailbox)
