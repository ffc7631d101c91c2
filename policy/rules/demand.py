"""What the policy asks for one message, of whom, which approvals count, and whether that
of the person who looks would, with the reasons as sentences. Pure, but that `Identities`
reads the accounts once.

`evaluate` is asked when a message is shown, when somebody decides, and before the
decision is carried out.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache

from django.utils.text import Truncator, get_text_list

from common.time_zones import day_and_time, local_time
from people.identities import Identities
from policy.calendars import Calendars, next_closing, next_common_opening
from policy.rules.conditions import MessageFacts, Names
from policy.rules.rules import (
    ANY_REVIEWER,
    FIRST_RULE,
    Effects,
    Parts,
    Pass,
    PolicyRule,
    Rules,
    merged,
)
from rendering import named
from risk.words import PLACES

# What sentences say of somebody as whom a person counts.
_MAY_NOT = "may not approve this"
# How many passages of a message, and names of files, a sentence has.
_SHOWN = 3
# In characters: a condition may name hundreds of addresses.
MOST_WORDS = 200
# How many characters of a passage a sentence has.
_LONGEST = 254
# Later than anything that has happened.
_NOW = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, eq=False)
class Policy:
    """The rules and passes of one version, in their order. `signatures` has by the id of
    a pass the keys of the two admins who signed it. While no version is active, the
    number is 0.

    `unreadable` is a sentence if they could not be read, for instance after a downgrade
    of the desk.
    """

    number: int = 0
    rules: Rules = (FIRST_RULE,)
    passes: tuple[Pass, ...] = ()
    signatures: Mapping[str, Sequence[int]] = field(default_factory=dict)
    unreadable: str = ""

    @property
    def parts(self) -> Parts:
        """The rules, then the passes."""
        return (*self.rules, *self.passes)

    @cached_property
    def asks_hours(self) -> bool:
        """Whether a rule asks for certain hours."""
        return any(one.then.office_hours for one in self.rules)

    @cached_property
    def asks_people(self) -> bool:
        """Whether a rule asks for more, or other, people than any one reviewer."""
        return any(one.then.approvals or one.then.barred_groups for one in self.rules)


NO_POLICY = Policy()


@dataclass(frozen=True)
class Progress:
    """How many of the needed approvals are given: "1 of 2". `missing` has, by key of a
    group, how many more its members must give. The key `ANY_REVIEWER` has how many more
    are needed that any reviewer may give.
    """

    given: int
    needed: int
    missing: Mapping[int, int]

    @property
    def is_complete(self) -> bool:
        """Whether the message is approved."""
        return self.given >= self.needed

    def __str__(self) -> str:
        return f"{self.given} of {self.needed}"


# Cached, because a page of the queue needs it for all of its rows.
@lru_cache(maxsize=4096)
def required(policy: Policy, facts: MessageFacts) -> Rules:
    """Return the rules that apply to a message and ask something of it, in order."""
    return tuple(
        rule
        for rule in policy.rules
        if rule.when.apply_to(facts) and _is_asked(rule.then, facts)
    )


def asked_by(rules: Rules) -> Effects:
    """Return what rules that apply to a message ask for together; the oversight mode is
    asked of mailboxes.
    """
    return replace(merged(one.then for one in rules), least_mode="")


def _is_asked(then: Effects, facts: MessageFacts) -> bool:
    """Whether a rule asks anything of this message: the oversight mode is asked of
    mailboxes, and editors are barred only from what was edited.
    """
    bars = then.bar_editor and facts.is_edited
    return bars or not replace(then, least_mode="", bar_editor=False).is_empty


def progress(
    effects: Effects, givers: Collection[int], members: Mapping[int, Collection[int]]
) -> Progress:
    """Return how many of the needed approvals these people give; `members` has the
    people of each group by its key.

    A person counts for one of the named groups at most: if two groups must each give
    one approval, one person who is in both is not enough.
    """
    people = sorted(set(givers))
    # Each slot is one approval that a group must give.
    slots = [group for group, n in effects.named_groups.items() for _ in range(n)]
    slot_of: dict[int, int] = {}

    def fill(slot: int, tried: set[int]) -> bool:
        # Bipartite matching by augmenting paths: whoever has another slot already may
        # give it to somebody else.
        for person in people:
            if person in tried or person not in members.get(slots[slot], ()):
                continue
            tried.add(person)
            if person not in slot_of or fill(slot_of[person], tried):
                slot_of[person] = slot
                return True
        return False

    missing = Counter(
        group for slot, group in enumerate(slots) if not fill(slot, set())
    )
    of_groups = missing.total()
    more = max(of_groups, effects.total - len(people))
    if more > of_groups:
        missing[ANY_REVIEWER] = more - of_groups
    return Progress(effects.total - more, effects.total, missing)


@dataclass(frozen=True)
class Approval:
    """One person's approval of the current revision of a message. `with_care` is
    whether it was given so (`Effects.care`).
    """

    person: int
    name: str
    surface: str = ""
    at: datetime = _NOW
    with_care: bool = False


@dataclass(frozen=True)
class People:
    """The people about one message: who looks at it (`person`), who approved it, who is
    behind it (`authors`, and `editors`, who edited it or wrote words of it), who may
    review it, and by group its members. `names` are those of groups and calendars.
    """

    identities: Identities = field(compare=False)
    person: int = 0
    approvals: tuple[Approval, ...] = ()
    authors: frozenset[int] = frozenset()
    editors: frozenset[int] = frozenset()
    reviewers: frozenset[int] = frozenset()
    groups: Mapping[int, Collection[int]] = field(default_factory=dict)
    names: Names = field(default_factory=Names)


@dataclass(frozen=True)
class Demand:
    """What the policy asks for a message, and how much of it has been given. `spoke` are
    the rules that apply to it, in order.

    `leaves_at` is when the message would leave, or was approved for; hours are asked
    for that time. `barred` may not approve: whoever started it or, by a rule, edited it
    or is in a group, and every account that counts as one person with one of these.
    """

    policy: Policy
    spoke: Rules
    people: People
    facts: MessageFacts
    leaves_at: datetime
    calendars: Calendars
    barred: frozenset[int]
    # Whether the message was decided already, and this is the check before the decision
    # is carried out.
    is_decided: bool

    @cached_property
    def effects(self) -> Effects:
        """What all rules that apply ask for together."""
        return asked_by(self.spoke)

    @cached_property
    def counted(self) -> list[Approval]:
        """The approvals that count: of those that may be one person's, the first."""
        counted: list[Approval] = []
        behind = set[int]()
        for one in self.people.approvals:
            # With a second factor that came later, somebody else gave it.
            givers = self.people.identities.behind(one.person, at=one.at)
            may = (
                one.person in self.people.reviewers
                and one.person not in self.barred
                and (one.with_care or not self.effects.care)
            )
            if may and behind.isdisjoint(givers):
                counted.append(one)
                behind |= givers
        return counted

    @property
    def givers(self) -> list[int]:
        """Who gave the approvals that count."""
        return [one.person for one in self.counted]

    @cached_property
    def progress(self) -> Progress:
        """How many of the needed approvals are given."""
        return progress(self.effects, self.givers, self.people.groups)

    def after(self) -> Progress:
        """Return the progress as it would be if the person who looks approved now."""
        givers = self.givers if self.same else [*self.givers, self.people.person]
        return progress(self.effects, givers, self.people.groups)

    @property
    def has_approved(self) -> bool:
        """Whether the person who looks gave an approval that counts."""
        return self.people.person in self.givers

    @property
    def takes_several(self) -> bool:
        """Whether more than one person has to approve it."""
        return self.effects.total > 1

    @property
    def is_last(self) -> bool:
        """Whether the approval of the person who looks would complete it."""
        return self.after().is_complete

    @property
    def approved_by(self) -> str:
        """By whom the approvals are that count: ", by Ben Okafor and Ana Ruiz"; empty
        if there are none.
        """
        names = get_text_list([one.name for one in self.counted], "and")
        return f", by {names}" if names else ""

    @cached_property
    def because(self) -> list[tuple[PolicyRule, list[str]]]:
        """Each rule that applies, with because of what in the message it does."""
        return [
            (one, [*dict.fromkeys(one.when.passages(self.facts))]) for one in self.spoke
        ]

    def _why(self, rule: PolicyRule, passages: Sequence[str]) -> str:
        """Return why a rule applies, as the end of a sentence."""
        quoted = [self._quoted(one) for one in passages[:_SHOWN]]
        shown = get_text_list(quoted, "and")
        if not rule.when.apply_to(self.facts):
            return ", because of the version before its edit"
        unknown = [
            Truncator(one.words_in(self.people.names)).chars(MOST_WORDS)
            for one in rule.when.asked
            if one.holds(self.facts) is None
        ]
        if unknown:
            whether = get_text_list(unknown, "and")
            why = f", because it is not known whether the message {whether}"
            return f"{why} ({shown})" if shown else why
        return f", because of {shown}" if shown else ""

    @property
    def passages(self) -> list[str]:
        """What in the message is the reason why rules apply, each once."""
        return [*dict.fromkeys(one for _, these in self.because for one in these)]

    @property
    def sentences(self) -> list[str]:
        """What each rule that applies asks for and why, such as "Payments: 2 approvals
        of Finance are needed, because of “1,225.00 EUR”."
        """
        names = self.people.names
        return [
            f"{rule.name}: {rule.then.in_words(names)}{self._why(rule, passages)}."
            for rule, passages in self.because
        ]

    def _quoted(self, passage: str) -> str:
        place = PLACES.get(self.facts.words.get(passage, ""))
        # Without invisible characters: an unclear recipient may have some.
        quoted = f"“{named(passage)[:_LONGEST]}”"
        return f"{quoted} in {place}" if place else quoted

    @cached_property
    def same(self) -> str:
        """Why the person who looks counts as one with somebody who approved; else empty."""
        why_one = self.people.identities.why_one
        sentences = (
            why_one(self.people.person, [one.person], "approved this", at=one.at)
            for one in self.counted
        )
        return next(filter(None, sentences), "")

    def refusals(self) -> list[tuple[str, str]]:
        """Return why this person may not approve it: for each reason a word, such as
        "approvals", and a sentence. Empty if they may.
        """
        people, effects = self.people, self.effects
        person = people.person
        reasons = []
        if person in people.authors:
            sentence = "You started this message, so somebody else must approve it."
            reasons.append(("author", sentence))
        if effects.bar_editor and person in people.editors:
            sentence = (
                "You edited this message, or wrote words of it in the last 30 days, so "
                "somebody else must approve it."
            )
            reasons.append(("editor", sentence))
        in_groups = [
            one for one in effects.barred_groups if person in people.groups.get(one, ())
        ]
        is_counted_as = person in self.barred and not (reasons or in_groups)
        if self.policy.unreadable:
            sentence = "The rules of the policy could not be read, so nothing can be approved. Tell an admin."
            return [*reasons, ("policy", sentence)]
        if effects.reject:
            rule, passages = next(one for one in self.because if one[0].then.reject)
            why = self._why(rule, passages)
            reasons.append(
                ("policy", f"A rule rejects this message{why}: {rule.then.reject}")
            )
        if closed := self.closed():
            reasons.append(("hours", closed))
        if is_counted_as:
            why = people.identities.why_one(person, self.barred, _MAY_NOT)
            reasons.append(("author", why))
        if why_not := self._why_not(in_groups):
            reasons.append(("approvals", why_not))
        return reasons

    def _why_not(self, in_groups: Collection[int]) -> str:
        """Return why an approval of this person would not count, or why a decided message
        may not be sent; empty if it would, or may.
        """
        if in_groups and not self.is_decided:
            groups = self.people.names.any_of("groups", in_groups)
            return f"A rule keeps members of {groups} from approving this message."
        if self.progress.is_complete:
            # The rules now ask for fewer approvals than when these people approved, so
            # no approval was the last one. Any further approval decides the message.
            return ""
        if self.is_decided:
            return f"{self.progress} approvals count now, by the rules and roles of now. {self.missing_in_words()}"
        if self.has_approved:
            return f"You have approved this: {self.progress} approvals are given. {self.missing_in_words()}"
        if self.same:
            return self.same
        if self.after().given > self.progress.given:
            return ""
        given = f"{self.progress} approvals are given. " if self.takes_several else ""
        return f"{given}{self.missing_in_words()}"

    def missing_in_words(self) -> str:
        """Return who must still approve, as a sentence: "1 more is needed: 1 of
        Finance."; empty if nobody must.
        """
        missing = sorted(self.progress.missing.items())
        if not missing:
            return ""
        parts = [f"{n} of {self.people.names.whose(group)}" for group, n in missing]
        number = sum(self.progress.missing.values())
        verb = "is" if number == 1 else "are"
        return f"{number} more {verb} needed: {get_text_list(parts, 'and')}."

    def closed(self) -> str:
        """Return when it can be approved, if a rule allows that only at certain hours
        and now is not among them; else empty.
        """
        hours = sorted(self.effects.office_hours)
        calendars = tuple(map(self.calendars.get, hours))
        opening = next_common_opening(calendars, self.leaves_at)
        if opening == self.leaves_at:
            return ""
        named = [self.people.names.name_of("calendars", one) for one in hours]
        names = get_text_list(named, "and")
        only = f"A rule lets this be approved and sent only within the hours of {names}"
        if opening is None:
            return f"{only}. These hours never come: ask an admin to change the rule."
        return f"{only}: next {local_time(opening):%a} {day_and_time(opening)}."

    def closes(self) -> datetime | None:
        """Return when the hours end within which it may leave now; None without any."""
        named = map(self.calendars.get, self.effects.office_hours)
        ends = [next_closing(one, self.leaves_at) for one in named if one]
        return min(ends, default=None)


def evaluate(
    policy: Policy,
    facts: MessageFacts,
    leaves_at: datetime,
    people: People,
    *,
    calendars: Calendars,
    first: MessageFacts | None = None,
    is_decided: bool = False,
) -> Demand:
    """Return what a policy asks for a message that would leave at this time, and how
    much of it these people have given. An edited message needs what its `first` version
    needed, too: its editor must not choose which rules apply.
    """
    spoke = required(policy, facts)
    if first is not None:
        # Without what was in doubt there or rejected it, which an edit may mend.
        spoke += tuple(
            one
            for one in required(policy, first)
            if one not in spoke
            and not one.then.reject
            and one.when.certainly_apply_to(first)
        )
    effects = asked_by(spoke)
    by_rule = set[int]().union(
        *(people.groups.get(one, ()) for one in effects.barred_groups)
    )
    if effects.bar_editor:
        by_rule |= people.editors
    return Demand(
        policy,
        spoke,
        people,
        facts,
        leaves_at,
        calendars,
        people.identities.same_as(people.authors | by_rule),
        is_decided,
    )
