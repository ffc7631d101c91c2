"""Judges which recipients the allowlists allow, and whether a change of a list loosens
it: pure functions of lists.

A mailbox is under the lists for all, of its connection and of its own. Their live
entries count together, and the strictest of their modes holds; a list that is off does
not count.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from common.patterns import compared, is_pattern, patterns_for

OFF = "off"
MONITOR = "monitor"
CONTACTS = "contacts"
ENFORCE = "enforce"
# The strictest last.
_STRICTNESS = (OFF, MONITOR, CONTACTS, ENFORCE)
# How many addresses a sentence names.
_NAMED = 3


@dataclass(frozen=True)
class ListScope:
    """What a list applies to: one mailbox, one connection, or neither, which means all
    mail.
    """

    connection: int | None = None
    mailbox: int | None = None

    def __post_init__(self) -> None:
        if self.connection is not None and self.mailbox is not None:
            raise ValueError(
                "a list is for a connection or for a mailbox, not for both"
            )


@dataclass(frozen=True)
class Entry:
    """One entry of a list, in the form of `common.patterns.read_pattern`. `id` is its
    row, where there is one.
    """

    pattern: str
    expires_at: datetime | None = None
    id: int | None = None

    def is_live(self, now: datetime) -> bool:
        """Whether it has not expired; the end itself does not belong to it."""
        return self.expires_at is None or self.expires_at > now


@dataclass(frozen=True)
class ApplicableList:
    """A list that applies to a mailbox: its mode, and those of its entries, by pattern,
    that could name a recipient.

    `label` says in words whom it is for: "all", "Main account",
    "support@yourteam.example".
    """

    list_id: int | None
    label: str
    mode: str
    entries: Mapping[str, Entry] = field(default_factory=dict)


@dataclass(frozen=True)
class AllowedBy:
    """Why an address may be written to: which entry of which list names it. Without a
    pattern it is a contact.
    """

    pattern: str
    label: str
    entry: int | None = None


@dataclass(frozen=True)
class Judgement:
    """The judgement of recipients. `would_be_refused`: those that a list in monitor
    mode does not name.
    """

    mode: str = OFF
    passed: Mapping[str, AllowedBy] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    would_be_refused: tuple[str, ...] = ()
    # The mode asks the contacts of the account, and they were never read.
    lacks_contacts: bool = False


def judge(
    recipients: Iterable[str],
    lists: Sequence[ApplicableList],
    contacts: Collection[str] | None,
    now: datetime,
) -> Judgement:
    """Return what `lists`, the narrowest first, say to each of these recipients at this
    instant.

    `contacts` are the known ones among them in the form that lists compare; None: they
    could not be read, so nobody is known. Under a mode in force a recipient passes by a
    live entry or, in mode contacts, by being known; all others, and what is no address
    at all, are refused.
    """
    counting = [one for one in lists if one.mode != OFF]
    if not counting:
        return Judgement()
    mode = strictest(one.mode for one in counting)
    passed: dict[str, AllowedBy] = {}
    missed: list[str] = []
    for address in dict.fromkeys(recipients):
        if listed := let_through(patterns_of([address]), counting, mode, contacts, now):
            passed[address] = listed
        else:
            missed.append(address)
    is_trial = mode == MONITOR
    return Judgement(
        mode=mode,
        passed=passed,
        refused=() if is_trial else tuple(missed),
        would_be_refused=tuple(missed) if is_trial else (),
        lacks_contacts=mode == CONTACTS and contacts is None,
    )


def let_through(
    patterns: Sequence[str],
    lists: Sequence[ApplicableList],
    mode: str,
    contacts: Collection[str] | None,
    now: datetime,
) -> AllowedBy | None:
    """Return why a recipient passes lists of which none is off: the most exact entry of
    the narrowest list.

    `patterns` are those of `patterns_of` for this recipient alone.
    """
    for pattern in patterns:
        for listing in lists:
            entry = listing.entries.get(pattern)
            if entry is not None and entry.is_live(now):
                return AllowedBy(pattern, listing.label, entry.id)
    if (
        mode == CONTACTS
        and contacts is not None
        and patterns
        and patterns[0] in contacts
    ):
        return AllowedBy("", "the contacts of the account")
    return None


def strictest(modes: Iterable[str]) -> str:
    """Return the mode that holds where several lists apply."""
    return max(modes, key=_STRICTNESS.index, default=OFF)


def allowable(recipient: str) -> str | None:
    """Return the entry that names this recipient and nobody else; None where there is
    none.

    `*@domain` is an address too, that somebody could have written to: as an entry it
    would let in the whole domain.
    """
    one = compared(recipient)
    return one if one and is_pattern(one) else None


def patterns_of(recipients: Iterable[str]) -> list[str]:
    """Return every entry that could let one of these recipients through; of one the
    most exact, itself, first.
    """
    known = filter(None, map(compared, recipients))
    return list(
        dict.fromkeys(pattern for one in known for pattern in patterns_for(one))
    )


def named(addresses: Sequence[str]) -> str:
    """Return the first few addresses in words, and how many more there are."""
    more = len(addresses) - _NAMED
    if more > 0:
        return f"{', '.join(addresses[:_NAMED])} and {more:,} more"
    *first, last = addresses
    return f"{', '.join(first)} and {last}" if first else last


def loosens(
    *,
    kind: str,
    mode_before: str,
    mode_after: str,
    before: Mapping[str, datetime | None],
    put: Iterable[tuple[str, datetime | None]],
    has_live_entries: bool,
    is_alone: bool,
) -> bool:
    """Return whether a change of one list lets more mail out than before: to more
    people, for longer, or without review. Doubt counts as loosening.

    `before` has the ends of the entries that are there under the patterns of `put`.
    `has_live_entries` says whether the list has any that count, and `is_alone` that no
    other list of its kind is in force: their entries count together, so a list that is
    switched on beside others allows its entries in their place too. A change of notes
    or owners, an earlier end, a stricter mode and removing an entry of a restriction do
    not loosen.
    """
    for pattern, ends in put:
        if pattern not in before:
            return True
        known = before[pattern]
        if known is not None and (ends is None or ends > known):
            return True
    was = _STRICTNESS.index(mode_before)
    becomes = _STRICTNESS.index(mode_after)
    if kind != "restriction":
        # A bypass lets its entries out without review, so its strictest mode is off.
        return becomes > was
    is_joining = mode_before == OFF and has_live_entries and not is_alone
    return becomes < was or (becomes > was and is_joining)
