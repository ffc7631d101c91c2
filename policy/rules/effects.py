"""What rules ask for, how the effects of several rules are merged (the strictest wins),
their words, and their fields in the editor. Pure: reads no tables.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from django import forms

from mirror.oversight_modes import MODES, is_looser, mode_words
from policy.rules.conditions import Fields, Keys, Offered, exactly
from policy.rules.fields import ChecksField, NumberField, PickField, TickField
from policy.rules.wording import Names, any_named, duration_in_words, listed, name_of

# In place of a group: any reviewer of the mailbox.
ANY_REVIEWER = 0
MOST_APPROVALS = 20
# How late a message may expire: after a year.
MOST_MINUTES = 60 * 24 * 366
# The units of an expiry, by their minutes.
_UNITS = {"1": "minutes", "60": "hours", "1440": "days"}


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
    have.
    """

    approvals: Mapping[int, int] = field(default_factory=dict)
    barred_groups: Keys = frozenset()
    bar_editor: bool = False
    care: bool = False
    reject: str = ""
    expire_minutes: int | None = None
    office_hours: Keys = frozenset()
    least_mode: str = ""

    @cached_property
    def named_groups(self) -> dict[int, int]:
        """How many approvals each named group must give."""
        pairs = sorted(self.approvals.items())
        return {group: n for group, n in pairs if group != ANY_REVIEWER}

    @cached_property
    def total(self) -> int:
        """How many people must approve. Each counts as a reviewer, and also for one
        named group at most.
        """
        of_groups = sum(self.named_groups.values())
        return max(1, self.approvals.get(ANY_REVIEWER, 0), of_groups)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked beyond one approval of any reviewer."""
        return merged([self]) == Effects()

    def in_words(self, names: Names) -> str:
        """Return them as a part of a sentence: "2 approvals of Finance are needed"."""
        return listed(list(self._parts(names))) or "one approval is needed"

    def outcome_in_words(self, names: Names) -> str:
        """Return them in words; of a message that is rejected, only that."""
        return (Effects(reject=self.reject) if self.reject else self).in_words(names)

    def _parts(self, names: Names) -> Iterator[str]:
        if self.reject:
            yield f"it is rejected (“{self.reject}”)"
        if self.approvals:
            needed = "is needed" if self.total == 1 else "are needed"
            yield f"{approvals_in_words(self.approvals, names)} {needed}"
        if self.barred_groups:
            groups = any_named(names.groups, self.barred_groups, "group")
            yield f"nobody of {groups} may approve it"
        if self.bar_editor:
            yield "whoever edited it or wrote words of it may not approve it"
        if self.care:
            yield "it is approved with care (after signing in again, on a page of its own, never in bulk)"
        if self.expire_minutes is not None:
            yield f"it expires {duration_in_words(self.expire_minutes)} after it was held"
        for key in sorted(self.office_hours):
            hours = name_of(names.calendars, key, "calendar")
            yield f"it is approved and sent only within the hours of {hours}"
        if self.least_mode:
            yield f"the oversight of its mailbox is at least “{mode_words(self.least_mode)}”"


def merged(effects: Iterable[Effects]) -> Effects:
    """Return the effects that satisfy all of these: the highest number of approvals,
    all bars and flags, the soonest expiry, the strictest mode.

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
    of_groups = sum(n for group, n in approvals.items() if group != ANY_REVIEWER)
    if approvals.get(ANY_REVIEWER, 0) <= max(1, of_groups):
        approvals.pop(ANY_REVIEWER, None)
    expiries = [one.expire_minutes for one in every if one.expire_minutes is not None]
    least_mode = ""
    for one in every:
        if one.least_mode and (
            not least_mode or is_looser(least_mode, than=one.least_mode)
        ):
            least_mode = one.least_mode
    return Effects(
        approvals=approvals,
        barred_groups=frozenset().union(*(one.barred_groups for one in every)),
        bar_editor=any(one.bar_editor for one in every),
        care=any(one.care for one in every),
        reject=next((one.reject for one in every if one.reject), ""),
        expire_minutes=min(expiries, default=None),
        office_hours=frozenset().union(*(one.office_hours for one in every)),
        least_mode=least_mode,
    )


def is_as_strict(one: Effects, other: Effects) -> bool:
    """Whether a message that satisfies `one` always satisfies `other` too."""
    return merged([one, other]) == merged([one])


def approvals_in_words(approvals: Mapping[int, int], names: Names) -> str:
    """Return who must approve: "2 approvals of Finance and 1 of Legal", or "3 approvals
    with 1 of Finance among them".
    """
    # A number in all that the groups give anyway is left out.
    kept = merged([Effects(approvals)]).approvals or {ANY_REVIEWER: 1}
    (first, number), *others = sorted(kept.items())
    parts = [f"{n} of {name_of(names.groups, group, 'group')}" for group, n in others]
    words = f"{number} approval" if number == 1 else f"{number} approvals"
    if first != ANY_REVIEWER:
        words += f" of {name_of(names.groups, first, 'group')}"
        return listed([words, *parts])
    if parts:
        return f"{words} with {listed(parts)} among them"
    return f"{words} of any reviewer"


def effect_fields(offered: Offered) -> Fields:
    """Return the fields of effects in the editor, by name. `offered` has the choices;
    each group gets a field for its approvals.
    """
    groups = {str(ANY_REVIEWER): "any reviewer, in all", **offered["groups"]}
    return {
        **{
            f"approvals_{group}": NumberField(f"Of {name}", MOST_APPROVALS, least=0)
            for group, name in groups.items()
        },
        "barred_groups": ChecksField("Nobody of these groups", offered["groups"], int),
        "bar_editor": TickField("Not whoever edited it or wrote words of it"),
        "care": TickField("With care"),
        "office_hours": ChecksField(
            "Only within the hours of", offered["calendars"], int
        ),
        "expire_number": NumberField("Expires after", MOST_MINUTES),
        "expire_unit": PickField("Unit", _UNITS),
        "reject": forms.CharField(
            label="Reject it, with this reason",
            help_text="The agent reads it.",
            required=False,
            max_length=300,
            error_messages={"max_length": "Keep the reason under 300 characters."},
        ),
        "least_mode": PickField(
            "Its mailbox has at least the oversight",
            {"": "Any", **{one.name: one.words for one in MODES[:-1]}},
            "With no other conditions than connections and mailboxes.",
        ),
    }


def typed_effects(then: Effects) -> dict[str, object]:
    """Return the values of the fields for stored effects."""
    typed: dict[str, object] = {
        name: getattr(then, name)
        for name in ("barred_groups", "bar_editor", "care", "office_hours", "reject")
    }
    typed |= {f"approvals_{group}": n for group, n in then.approvals.items()}
    minutes = then.expire_minutes or 0
    unit = next(size for size in (1440, 60, 1) if minutes % size == 0)
    return {
        **typed,
        "expire_number": minutes // unit or None,
        "expire_unit": str(unit if minutes else 60),
        "least_mode": then.least_mode,
    }


def read_effects(typed: Mapping[str, object]) -> Effects:
    """Return the effects that were typed, from the cleaned values of the fields."""
    number, unit = typed["expire_number"] or 0, typed["expire_unit"] or 60
    approvals = {
        int(name.removeprefix("approvals_")): n
        for name, n in typed.items()
        if name.startswith("approvals_") and n
    }
    others = "barred_groups bar_editor care office_hours least_mode"
    return Effects(
        approvals=approvals,  # type: ignore[arg-type]
        expire_minutes=int(number) * int(unit) or None,  # type: ignore[call-overload]
        reject=str(typed["reject"]).strip(),
        **{name: typed[name] for name in others.split()},  # type: ignore[arg-type]
    )
