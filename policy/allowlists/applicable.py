"""Reads the lists that apply to a mailbox, with those entries alone that could name a recipient at hand.

Its cost does not grow with the lists: entries are found by their patterns (allow_entry_pattern).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from common.patterns import read_pattern, stored_pattern
from policy.allowlists.judgement import Entry, StandingList
from policy.models import AllowEntry, Allowlist

if TYPE_CHECKING:
    from mirror.models import Mailbox

Restriction = Allowlist.Kind.RESTRICTION


@dataclass(frozen=True)
class Reach:
    """All lists in force of some connections, with the entries that were asked for; told apart by mailbox in memory."""

    lists: Sequence[Allowlist] = ()
    # By the key of the list; None for one that is not stored yet.
    entries: Mapping[int | None, Mapping[str, Entry]] = field(default_factory=dict)

    def of(self, *, connection: int, mailbox: int | None) -> list[StandingList]:
        """Return the lists that apply to a mailbox, the narrowest first.

        Mail whose mailbox is not known may be any one's of its connection: it is under the modes of all of them, and
        their entries say nothing of it.
        """
        found = []
        for one in self.lists:
            if one.mailbox_id is None and one.connection_id in (None, connection):
                found.append((2 if one.connection_id is None else 1, self._standing(one, counts=True)))
            elif one.mailbox is not None and _may_be(one.mailbox, connection, mailbox):
                found.append((0, self._standing(one, counts=mailbox is not None)))
        return [standing for _, standing in sorted(found, key=lambda pair: pair[0])]

    def _standing(self, one: Allowlist, *, counts: bool) -> StandingList:
        label = str(one.mailbox or one.connection or "all")
        return StandingList(one.pk, label, one.mode, one.version, self.entries.get(one.pk, {}) if counts else {})


def _may_be(one: "Mailbox", connection: int, mailbox: int | None) -> bool:
    return one.connection_id == connection and mailbox in (None, one.pk)


def reach_of(*, connections: Collection[int], patterns: Iterable[str], also: Allowlist | None = None) -> Reach:
    """Return the restrictions in force for these connections with the entries of these patterns, in two queries.

    `also` is a list that is read whatever its mode is.
    """
    lists = list(Allowlist.objects.in_force(kind=Restriction, connections=connections))
    lists += [also] if also is not None and (also.pk is None or also not in lists) else []
    wanted = list(patterns)
    entries: dict[int | None, dict[str, Entry]] = {}
    if lists and wanted:
        keys = [one.pk for one in lists if one.pk is not None]
        rows = AllowEntry.objects.in_place().filter(allowlist__in=keys, pattern__in=wanted)
        for key, list_id, pattern, ends in rows.values_list("pk", "allowlist_id", "pattern", "expires_at"):
            entries.setdefault(list_id, {})[pattern] = Entry(pattern, ends, key)
    return Reach(lists, entries)


def with_change(
    reach: Reach, changed: Allowlist, *, mode: str | None, put: Iterable[Entry], remove: Iterable[str]
) -> Reach:
    """Return what would be in place of `reach` if one of its lists were changed so."""
    other = copy(changed)
    other.mode = mode or changed.mode
    entries = dict(reach.entries.get(changed.pk, {}))
    for pattern in remove:
        entries.pop(stored_pattern(pattern), None)
    entries |= {pattern: replace(one, pattern=pattern) for one in put for pattern in (read_pattern(one.pattern),)}
    lists = [other if one is changed or one == changed else one for one in reach.lists]
    return Reach(lists, {**reach.entries, changed.pk: entries})


def standing_lists(*, connection: int, mailbox: int | None, patterns: Iterable[str]) -> list[StandingList]:
    """Return the restrictions that apply to one mailbox."""
    return reach_of(connections=[connection], patterns=patterns).of(connection=connection, mailbox=mailbox)
