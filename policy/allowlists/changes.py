"""The commands that change allowlists: add and delete one, and change its entries. Each
writes an entry to the ledger; a change of what the active
policy names is then pushed to the gates.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from audit.recording import record
from common.actors import Actor, Role
from common.mail_addresses import read_pattern, stored_pattern
from common.postgres import atomic_with_retry, clock, take_lock
from mirror.errors import ActNotAllowed
from people.roles import GrantTarget
from people.second_admin.registry import CanWait, ChangeInWords, listed, second_admin
from policy import tasks
from policy.errors import PolicyRefused, check_name, check_seen
from policy.models import AllowEntry, Allowlist
from policy.rules.changes import has_two_admins, passes_of, policies, rules_of
from policy.rules.rules import Part

# How many patterns an entry of the ledger names.
_RECORDED = 1000
NOT_YOURS = "Only an admin of everything that this list covers can change it."


@dataclass(frozen=True)
class WantedEntry:
    """An entry as it should be."""

    pattern: str
    note: str = ""
    expires_at: datetime | None = None

    def __str__(self) -> str:
        ends = f" until {self.expires_at:%Y-%m-%d %H:%M}" if self.expires_at else ""
        return f"{self.pattern}{ends}"


@dataclass(frozen=True)
class Step:
    """What a change does to one entry: what it is before and after it, if there is one."""

    pattern: str
    before: WantedEntry | None
    after: WantedEntry | None

    @property
    def did(self) -> str:
        """What is done, as a word."""
        if self.before and self.after:
            return "changed"
        return "added" if self.after else "removed"

    @property
    def is_longer(self) -> bool:
        """Whether it lets the entry count at a time at which it does not now."""
        ends = self.before.expires_at if self.before else clock()
        if self.after is None or ends is None:
            return False
        return self.after.expires_at is None or self.after.expires_at > ends


def steps_of(
    at: Allowlist, put: Iterable[WantedEntry], remove: Iterable[str]
) -> list[Step]:
    """Return what a change does to the entries of a list: adds or changes those to
    `put`, of which the last counts for each pattern, and removes these patterns. What
    stays as it is is left out. Raises ActNotAllowed for a pattern that no entry can have.
    """
    wanted: dict[str, WantedEntry | None] = dict.fromkeys(map(stored_pattern, remove))
    try:
        for one in put:
            pattern = read_pattern(one.pattern)
            wanted[pattern] = replace(one, pattern=pattern)
    except ValueError as error:
        raise ActNotAllowed(str(error)) from None
    present = at.entries.filter(pattern__in=list(wanted))
    stored = {
        row[0]: WantedEntry(*row)
        for row in present.values_list("pattern", "note", "expires_at")
    }
    steps = [Step(one, stored.get(one), after) for one, after in wanted.items()]
    return [one for one in steps if one.before != one.after]


def in_words(at: Allowlist) -> str:
    """Return the state of a list as text for the ledger."""
    return f"version: {at.version}; entries: {at.entries.count()}"


@atomic_with_retry
def add_allowlist(*, name: str, actor: Actor, target: GrantTarget) -> Allowlist:
    """Make an empty list for all mail, a connection or a mailbox, which nothing names
    yet. Raises ActNotAllowed, and PolicyRefused if another has this name.
    """
    made = Allowlist(name=name.strip(), **target.fields)
    if not made.is_within(actor, Role.ADMIN):
        raise ActNotAllowed(NOT_YOURS)
    take_lock("policy.rules")
    check_name(made, made.name)
    made.changed_by_id = int(actor.id)
    made.save()
    _record("allowlist.added", made, actor, before="", after=in_words(made))
    return made


@atomic_with_retry
def delete_allowlist(*, allowlist: Allowlist, actor: Actor) -> None:
    """Delete a list. Raises PolicyRefused while a rule or pass names it."""
    locked = _lock(allowlist, actor)
    current = policies()
    parts = (*current.active_parts, *current.draft_parts)
    if current.unreadable or (named := [one for one in parts if names(one, locked)]):
        by = current.unreadable or f"“{named[0].name}” of the policy names it."
        raise PolicyRefused(f"This list cannot be deleted. {by}")
    entries = locked.entries.order_by("pattern")
    removed = _first_few(entries.values_list("pattern", flat=True))
    before = in_words(locked)
    locked.delete()
    _record(
        "allowlist.deleted", locked, actor, before=before, after="", removed=removed
    )


def names(part: Part, allowlist: Allowlist) -> bool:
    """Whether a rule or pass names this list."""
    return allowlist.pk in part.when.lists | part.when.lists_except


@atomic_with_retry
@second_admin("Allowlist", always=True)
def apply_change(
    *,
    allowlist: Allowlist,
    put: Sequence[WantedEntry],
    remove: Sequence[str],
    seen: str,
    actor: Actor,
) -> CanWait[Allowlist]:
    """Change the entries of one list, as `steps_of` says. `seen` is the `seen_state` of
    the list that the actor saw.

    A change without effect makes no new version. Raises ActNotAllowed, StalePolicy.
    """
    locked = _lock(allowlist, actor)
    before = in_words(locked)
    check_seen(seen, before, by=locked.changed_by or "Somebody")
    steps = steps_of(locked, put, remove)
    # The entries that are added, changed and removed, each with its end.
    acts: dict[str, list[str]] = {}
    for one in steps:
        acts.setdefault(one.did, []).append(str(one.after or one.before))
    yield lambda: _in_change(locked, before, steps, listed(acts))
    if not steps:
        return locked
    locked.version += 1
    locked.changed_by_id = int(actor.id)
    locked.changed_at = clock()
    locked.save()
    locked.entries.filter(pattern__in=[one.pattern for one in steps]).delete()
    new = [
        AllowEntry(
            allowlist=locked,
            pattern=one.pattern,
            note=one.after.note,
            expires_at=one.after.expires_at,
            added_at=locked.changed_at,
            added_by_id=locked.changed_by_id,
        )
        for one in steps
        if one.after
    ]
    AllowEntry.objects.bulk_create(new, batch_size=2000)
    tasks.bring_lists()
    first_few = {did: _first_few(entries) for did, entries in acts.items()}
    _record(
        "allowlist.changed",
        locked,
        actor,
        before=before,
        after=in_words(locked),
        **first_few,
    )
    return locked


def _in_change(
    locked: Allowlist, before: str, steps: Sequence[Step], after: str
) -> ChangeInWords:
    current = policies()
    parts = current.active_parts
    named = tuple(one for one in parts if one.is_on and names(one, locked))
    # Two admins signed to whom a pass sends without a person.
    widens_pass = bool(passes_of(named)) and any(one.after for one in steps)
    # A rule on recipients who are on the list may apply to fewer messages.
    is_asked = current.unreadable or any(
        locked.pk in one.when.lists for one in rules_of(named)
    )
    lets_out_more = bool(steps and is_asked) or any(one.is_longer for one in steps)
    # Where a rule does not apply any more, passes may send what it kept for people.
    has_passes = any(one.is_on for one in passes_of(parts))
    widens_pass |= has_passes and bool(rules_of(named)) and lets_out_more
    if widens_pass and not has_two_admins():
        raise PolicyRefused(
            "A policy with passes names this list: two admins sign this change, and there is only one."
        )
    return ChangeInWords(
        title=f"Allowlist {locked}: change",
        before=before,
        # All of them, with their ends: a second admin reads nothing else of the change.
        after=after or "no change",
        page=locked.url,
        connection=locked.owning_connection,
        mailbox=locked.mailbox_id,
        tightens=not (lets_out_more or widens_pass),
        always=widens_pass,
    )


def _lock(allowlist: Allowlist, actor: Actor) -> Allowlist:
    """Return a list, locked. Raises ActNotAllowed if the actor may not change it."""
    # Whether an active rule names it must not change before this is stored.
    take_lock("policy.rules")
    rows = Allowlist.objects.select_related("mailbox", "connection", "changed_by")
    locked = rows.filter(pk=allowlist.pk).select_for_update(of=("self",)).first()
    if locked is None:
        raise PolicyRefused("Somebody deleted this list.")
    if not locked.is_within(actor, Role.ADMIN):
        raise ActNotAllowed(NOT_YOURS)
    return locked


def _first_few(entries: Iterable[str]) -> str:
    entries = list(entries)
    more = len(entries) - _RECORDED
    shown = ", ".join(entries[:_RECORDED])
    return f"{shown} and {more:,} more" if more > 0 else shown


def _record(action: str, at: Allowlist, actor: Actor, **details: str) -> None:
    about = {"list": at.name, "scope": at.scope, "version": str(at.version)}
    record(
        action,
        actor=actor,
        connection=at.owning_connection,
        details=about | details,
    )
