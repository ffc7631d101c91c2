"""The commands that change allowlists: add one, and change its entries. Each writes an
entry to the ledger; a change is then pushed to the gates.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from common.actors import Actor
from common.mail_addresses import read_pattern, stored_pattern
from common.postgres import atomic_with_retry, clock
from mirror.errors import ActNotAllowed
from people.roles import GrantTarget
from people.second_admin.registry import CanWait, ChangeInWords, listed, second_admin
from policy import tasks
from policy.errors import PolicyRefused, check_name, check_seen
from policy.models import AllowEntry, Allowlist
from policy.rules.changes import has_two_admins, policies
from policy.rules.groups import first_few, in_words, lock, naming, record_change


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
        """Whether the entry counts for longer than before."""
        if self.before is None or self.after is None:
            return self.after is not None
        ends = self.before.expires_at
        return ends is not None and (
            self.after.expires_at is None or self.after.expires_at > ends
        )


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


@atomic_with_retry
def add_allowlist(*, name: str, actor: Actor, target: GrantTarget) -> Allowlist:
    """Make an empty list for all mail, a connection or a mailbox, which nothing names
    yet. Raises ActNotAllowed, and PolicyRefused if another has this name.
    """
    made, _ = lock(Allowlist(name=name.strip(), **target.fields), actor)
    check_name(made, made.name)
    made.changed_by_id = int(actor.id)
    made.save()
    record_change(made, actor, "", in_words(made))
    return made


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
    locked, before = lock(allowlist, actor)
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
    named = {did: first_few(entries) for did, entries in acts.items()}
    record_change(locked, actor, before, in_words(locked), **named)
    return locked


def _in_change(
    locked: Allowlist, before: str, steps: Sequence[Step], after: str
) -> ChangeInWords:
    policy = policies().in_force
    rules = naming(locked, policy.rules)
    is_named = bool(rules or naming(locked, policy.passes))
    # A rule on recipients who are on the list may apply to fewer messages.
    is_asked = any(locked.pk in one.when.lists for one in rules)
    tightens = not (
        policy.unreadable or any(one.is_longer or is_asked for one in steps)
    )
    # Two admins signed to whom a pass sends without a person; and where a rule does not
    # apply any more, passes may send what it kept for people.
    always = bool(policy.passes) and is_named and not tightens
    if always and not has_two_admins():
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
        tightens=tightens,
        always=always,
    )
