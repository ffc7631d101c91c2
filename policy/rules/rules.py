"""The rules and passes of the policy as values: what a rule is (conditions and effects),
how the effects of several rules are merged (the strictest wins), how they are written as
English sentences, and how two versions differ. Pure: reads no tables and no clock.

Where the conditions of a rule hold in doubt, those of a pass do not: it admits only a
message that certainly fits. A pass counts only where no rule applies, so adding a rule
never lowers what a message needs.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, ClassVar, TypeVar

from django import forms
from django.db.models import TextChoices
from django.utils.text import get_text_list
from pydantic import AwareDatetime, Field, PositiveInt

from common.durations import MAX_WRITTEN, minutes_in_words, read_minutes
from common.pages import tick_field
from mirror.oversight_modes import MODES, mode_words
from mirror.oversight_modes import NAMES as MODE_NAMES
from policy.errors import RuleError
from policy.rules.conditions import (
    Conditions,
    Fields,
    Keys,
    LinksElsewhere,
    MessageFacts,
    Names,
    ToUnlisted,
    Words,
    any_of,
    exactly,
    from_json,
    stored_as,
)
from policy.rules.fields import (
    ChecksField,
    EntriesField,
    ReadField,
    money_in_words,
    pick_field,
)

# In place of a group: any reviewer of the mailbox.
ANY_REVIEWER = 0
MOST_APPROVALS = 20
# How late a message may expire: after a year.
MOST_MINUTES = 60 * 24 * 366


def _read_expiry(typed: str) -> int | None:
    minutes = read_minutes(typed) if typed else 0
    if minutes > MOST_MINUTES:
        raise ValueError("A message can wait for a year at most.")
    return minutes or None


@exactly
@dataclass(frozen=True)
class Effects:
    """What a rule asks for. `approvals` has, by key of a group, how many of its members
    must approve, and by `ANY_REVIEWER` how many people in all.

    Members of `barred_groups` may not approve, nor, with `bar_editor`, whoever edited
    the message or wrote words of it. `care`: whoever approves it signs in again first,
    on a page of its own, never in bulk. `reject` is the reason with which the rule
    rejects the message, empty if it does not. `expire_minutes` count from when the
    message was held. All calendars of `office_hours` must be open when it is approved
    and when it leaves. `least_mode` is the loosest oversight mode that mailboxes may
    have. `sentences` are told to whoever reads the message.
    """

    approvals: Mapping[int, PositiveInt] = field(default_factory=dict)
    barred_groups: Keys = frozenset()
    bar_editor: bool = False
    care: bool = False
    reject: str = ""
    expire_minutes: Annotated[int, Field(le=MOST_MINUTES)] | None = None
    office_hours: Keys = frozenset()
    least_mode: str = ""
    sentences: Words = frozenset()
    # Its fields in the editor, but for those of approvals.
    editor: ClassVar[Fields] = {
        "barred_groups": ChecksField("Nobody of these groups", "groups", int),
        "bar_editor": tick_field("Not the people who edited it or wrote part of it"),
        "care": tick_field("With care"),
        "office_hours": ChecksField("Only within the hours of", "calendars", int),
        "expire_minutes": ReadField(
            "Expires after",
            _read_expiry,
            help_text="Such as 90 min or 72 h.",
            max_length=MAX_WRITTEN,
        ),
        "reject": forms.CharField(
            label="Reject it, with this reason",
            help_text="The agent reads it.",
            required=False,
            max_length=300,
        ),
        "least_mode": pick_field(
            "Its mailbox has at least the oversight",
            {"": "Any", **{one.name: one.words for one in MODES[:-1]}},
            "With no other conditions than connections and mailboxes.",
        ),
        "sentences": EntriesField(
            "Show the reader",
            str,
            "One sentence a line, such as: Confirm the IBAN by phone.",
            most=5,
            max_length=1000,
        ),
    }

    @cached_property
    def named_groups(self) -> dict[int, int]:
        """How many approvals each named group must give."""
        asked = sorted(self.approvals.items())
        return {group: n for group, n in asked if group != ANY_REVIEWER}

    @cached_property
    def total(self) -> int:
        """How many people must approve. Each counts as a reviewer, and also for one
        named group at most.
        """
        of_any = self.approvals.get(ANY_REVIEWER, 1)
        return max(of_any, sum(self.named_groups.values()))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked beyond one approval of any reviewer."""
        return merged([self]) == Effects()

    def in_words(self, names: Names) -> str:
        """Return them as a part of a sentence: "2 approvals of Finance are needed"."""
        return (
            get_text_list(list(self._parts(names)), "and") or "one approval is needed"
        )

    def _parts(self, names: Names) -> Iterator[str]:
        if self.reject:
            yield f"it is rejected (“{self.reject}”)"
        if self.approvals:
            needed = "is needed" if self.total == 1 else "are needed"
            yield f"{approvals_in_words(self.approvals, names)} {needed}"
        if self.barred_groups:
            groups = names.any_of("groups", self.barred_groups)
            yield f"nobody of {groups} may approve it"
        if self.bar_editor:
            yield "people who edited it or wrote part of it may not approve it"
        if self.care:
            yield "it is approved with care (after signing in again, on a page of its own, never in bulk)"
        if self.expire_minutes is not None:
            yield f"it expires {minutes_in_words(self.expire_minutes)} after it was held"
        for key in sorted(self.office_hours):
            hours = names.name_of("calendars", key)
            yield f"it is approved and sent only within the hours of {hours}"
        if self.least_mode:
            yield f"the oversight of its mailbox is at least “{mode_words(self.least_mode)}”"
        for one in sorted(self.sentences):
            yield f"the reader sees “{one}”"


def merged(effects: Iterable[Effects]) -> Effects:
    """Return the effects that satisfy all of these: the highest number of approvals,
    all bars and flags, the soonest expiry, the strictest mode.

    Of several reasons to reject, the first is taken; otherwise the order does not
    matter.
    """
    both = Effects()
    for one in effects:
        expiries = (both.expire_minutes, one.expire_minutes)
        modes = (both.least_mode, one.least_mode)
        both = Effects(
            # The higher number of each group.
            approvals=Counter(both.approvals) | Counter(one.approvals),
            barred_groups=both.barred_groups | one.barred_groups,
            bar_editor=both.bar_editor or one.bar_editor,
            care=both.care or one.care,
            reject=both.reject or one.reject,
            expire_minutes=min(
                (minutes for minutes in expiries if minutes is not None), default=None
            ),
            office_hours=both.office_hours | one.office_hours,
            least_mode=min(filter(None, modes), key=MODE_NAMES.index, default=""),
            sentences=both.sentences | one.sentences,
        )
    # A number that the named groups or the desk need anyway is left out, so that
    # effects that ask for the same compare as equal.
    approvals = both.named_groups
    if both.total > max(1, sum(approvals.values())):
        approvals = approvals | {ANY_REVIEWER: both.total}
    return replace(both, approvals=approvals)


def is_as_strict(one: Effects, other: Effects) -> bool:
    """Whether a message that satisfies `one` always satisfies `other` too."""
    return merged([one, other]) == merged([one])


def approvals_in_words(approvals: Mapping[int, int], names: Names) -> str:
    """Return who must approve: "2 approvals of Finance and 1 of Legal", or "3 approvals
    of any reviewer with 1 of Finance among them".
    """
    # A number in all that the groups give anyway is left out.
    kept = merged([Effects(approvals)]).approvals or {ANY_REVIEWER: 1}
    (first, number), *others = sorted(kept.items())
    words = f"{number} approval{'s' if number > 1 else ''} of {names.whose(first)}"
    more = get_text_list([f"{n} of {names.whose(one)}" for one, n in others], "and")
    if first == ANY_REVIEWER and more:
        return f"{words} with {more} among them"
    return f"{words} and {more}" if more else words


MOST_RULES = 500


@dataclass(frozen=True)
class _Part:
    """What a rule and a pass have in common.

    The `id` stays the same from version to version of the policy.
    """

    id: Annotated[str, Field(pattern="^[A-Za-z0-9]{1,12}$")]
    name: Annotated[str, Field(pattern=r"\S")]

    def as_json(self) -> Any:
        """Return it as it is stored."""
        kind: Any = type(self)
        return stored_as(kind).dump_python(self, mode="json", exclude_defaults=True)


@exactly
@dataclass(frozen=True)
class PolicyRule(_Part):
    """One rule: messages that meet the conditions `when` need what `then` asks for."""

    when: Conditions = field(default_factory=Conditions)
    then: Effects = field(default_factory=Effects)

    def check(self) -> None:
        when, then = self.when, self.then
        if when.currency and when.amount is None:
            raise RuleError(
                "Write the amount that is in this currency; 0 is any amount.", "amount"
            )
        if sum(then.approvals.values()) > MOST_APPROVALS:
            raise RuleError(
                f"At most {MOST_APPROVALS} approvals can be asked for together.",
                "approvals_0",
            )
        if then.is_empty:
            raise RuleError(
                f"“{self.name}” asks for nothing beyond the one approval that is always needed.",
                "approvals_0",
            )
        is_mode = then.least_mode in MODE_NAMES
        if then.least_mode and not (is_mode and when.are_of_mailboxes):
            raise RuleError(
                "The oversight of a mailbox goes by connections and mailboxes only.",
                "least_mode",
            )

    def named(self) -> dict[str, frozenset[Any]]:
        when, then = self.when, self.then
        return {
            "connections": when.connections,
            "mailboxes": when.mailboxes,
            "keys": when.keys,
            "lists": when.lists | when.lists_except,
            "groups": then.barred_groups.union(then.named_groups),
            "calendars": then.office_hours,
        }

    def sentence(self, names: Names) -> str:
        parts = [one.words_in(names) for one in self.when.asked]
        conditions = get_text_list(parts, "and")
        when = (
            f"When a message {conditions}, then" if conditions else "For every message,"
        )
        return f"{when} {self.then.in_words(names)}."


# In force while no version is active; the first draft begins with it.
FIRST_RULE = PolicyRule("edited", "Edited mail", then=Effects(bar_editor=True))


def rules_loosen(before: Iterable[PolicyRule], after: Sequence[PolicyRule]) -> bool:
    """Whether `after` may ask less for some message than `before`.

    It does not if for each rule of `before` there is one in `after` that has the same
    conditions and asks for at least as much. In doubt the answer is True.
    """
    return not all(
        any(
            one.when == rule.when and is_as_strict(one.then, rule.then) for one in after
        )
        for rule in before
    )


# How far ahead its end may be when it is signed, and how many messages it may send in
# 24 hours.
LONGEST = timedelta(days=366)
MOST_A_DAY = 1000


class Misfit(TextChoices):
    """Why a pass does not send a message, as a code and as a sentence."""

    UNKNOWN = "unknown", "The desk does not know enough about it."
    CONTENT = "content", "A part of it cannot be seen here."
    KEY = "key", "It came with another API key."
    MAILBOX = "mailbox", "It is from another mailbox."
    ORIGIN = "origin", "It did not come from an agent alone."
    TRIES = "tries", "Changes were requested of it before."
    SANDBOX = "sandbox", "It is a test message."
    RECIPIENTS = "recipients", "A recipient is on none of the lists."
    FINDINGS = "findings", "It has a finding."
    ATTACHMENTS = "attachments", "It has an attachment or a picture."
    SUM = "sum", "It names a larger sum, one in another currency, or an unclear one."
    LINKS = "links", "It has a link to another site."
    APART = "apart", "It came with too many others."
    THREAD = "thread", "A newer message of its thread, or the thread, was not read."
    ENDED = "ended", "It would leave after the pass ends."
    RULE = "rule", "A rule of the policy applies to it."
    STOPPED = "stopped", "Somebody stopped one with this text that a pass had approved."
    GONE = "gone", "The pass is no longer part of the policy, or has ended."


@exactly
@dataclass(frozen=True, kw_only=True)
class Pass(_Part):
    """Messages that are sent without a person: of these API keys and mailboxes, to
    recipients who are each on one of these allowlists, until `ends_at`, and at most
    `a_day` in 24 hours.

    `most` is the highest sum that they may name, in `currency`; None for no sum at all.
    `link_domains` are entries as in allowlists, without addresses.
    """

    keys: Annotated[Words, Field(min_length=1)]
    mailboxes: Annotated[Keys, Field(min_length=1)]
    lists: Annotated[Keys, Field(min_length=1)]
    ends_at: AwareDatetime
    a_day: Annotated[PositiveInt, Field(le=MOST_A_DAY)]
    most: Decimal | None = None
    currency: str = ""
    link_domains: Words = frozenset()

    def check(self) -> None:
        if bool(self.currency) != (self.most is not None):
            raise RuleError("Write an amount with its currency, or none.", "most")

    def named(self) -> dict[str, frozenset[Any]]:
        return {"mailboxes": self.mailboxes, "keys": self.keys, "lists": self.lists}

    def sentence(self, names: Names) -> str:
        sums = "no sum"
        if self.most is not None:
            sums = f"at most {money_in_words(self.most, self.currency)}"
        links = "no links"
        if self.link_domains:
            links = f"links to {any_of(self.link_domains)} only"
        return (
            f"Messages of the API key {names.any_of('keys', self.keys)} from "
            f"{names.any_of('mailboxes', self.mailboxes)} to recipients on the allowlist "
            f"{names.any_of('lists', self.lists)}, that name {sums}, have no finding, "
            f"no attachment, no picture and {links}, "
            f"are sent without a person; at most {self.a_day:,} a day, until "
            f"{self.ends_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC."
        )

    def misfits(
        self,
        facts: MessageFacts,
        leaves_at: datetime | None,
        against: Iterable[Misfit],
        *,
        is_asked: bool,
    ) -> tuple[Misfit, ...]:
        """Return why it does not send a message that would leave at this time, None if
        that is not known; empty if it does. `against` are other circumstances that keep
        any pass from sending it. That a rule asks anything of the message (`is_asked`)
        is a reason, whatever the rule asks for.
        """
        unlisted = ToUnlisted(Conditions(), self.lists)
        elsewhere = LinksElsewhere(Conditions(), self.link_domains)
        # What is not known keeps it from being sent by itself.
        keeps: dict[Misfit, object] = {
            Misfit.RULE: is_asked,
            Misfit.UNKNOWN: None
            in (*vars(facts).values(), facts.seen_recipients, leaves_at),
            Misfit.KEY: facts.key not in self.keys,
            Misfit.MAILBOX: facts.mailbox not in self.mailboxes or facts.is_inbound,
            Misfit.ORIGIN: not facts.is_agents_alone or facts.is_edited,
            Misfit.TRIES: facts.tries != 1,
            Misfit.RECIPIENTS: not facts.recipients
            or len(facts.lists_of or ()) != len(facts.recipients)
            or unlisted.fits(facts),
            Misfit.FINDINGS: facts.findings or facts.risk_level,
            Misfit.ATTACHMENTS: facts.attachments,
            Misfit.SUM: facts.unread_sums
            or any(
                self.most is None
                or currency != self.currency
                or Decimal(largest) > self.most
                for currency, largest in (facts.amounts or {}).items()
            ),
            Misfit.LINKS: elsewhere.fits(facts),
            Misfit.ENDED: leaves_at and leaves_at >= self.ends_at,
        }
        return (*(one for one in keeps if keeps[one]), *sorted(against))


def passes_loosen(before: Sequence[Pass], after: Iterable[Pass]) -> bool:
    """Whether `after` may send a message that `before` did not: all that a pass may
    change without that is that it ends sooner, sends fewer a day, or is gone.
    """
    return not all(
        any(
            replace(one, ends_at=old.ends_at, a_day=old.a_day) == old
            and one.ends_at <= old.ends_at
            and one.a_day <= old.a_day
            for old in before
        )
        for one in after
    )


Part = PolicyRule | Pass
Rules = tuple[PolicyRule, ...]
# The rules of a policy, then its passes.
Parts = tuple[Part, ...]
One = TypeVar("One", bound=Part)


def parts_from_json(kind: type[One], value: object) -> tuple[One, ...]:
    """Return the rules or passes of a stored version in their order. Raises RuleError
    for unknown fields and impossible values, or if two have the same id.
    """
    if not isinstance(value, list) or len(value) > MOST_RULES:
        raise RuleError(f"A policy is a list of at most {MOST_RULES} rules.")
    parts = tuple(from_json(kind, one) for one in value)
    for one in parts:
        one.check()
    if len({one.id for one in parts}) < len(parts):
        raise RuleError("Two rules have the same id.")
    return parts


def differences(
    before: Iterable[Part], after: Iterable[Part], names: Names
) -> list[tuple[str, str]]:
    """Return the lines, before and after, of the rules and passes that were added or
    changed, in the order of `after`, then of those that were removed. One line is empty
    if there was none before, or is none after.
    """
    old = {one.id: one for one in before}
    new = {one.id: one for one in after}

    def line(one: Part | None) -> str:
        return " ".join(f"{one.name}: {one.sentence(names)}".split()) if one else ""

    pairs = [(old.get(key), new.get(key)) for key in new | old]
    return [(line(was), line(one)) for was, one in pairs if was != one]
