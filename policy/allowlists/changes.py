"""The commands that change allowlists: a change of one list, allowing one address for
some days, and the record of an export. Each writes an entry to the ledger; a change is
then pushed to the gates.

Each change makes a new version of the list. A change that was made on the basis of an
older version is refused, so nobody overwrites a change that they have not seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from audit.recording import record
from common.actors import Actor
from common.mail_addresses import read_pattern, stored_pattern
from common.postgres import atomic_with_retry, clock, take_lock
from mirror.errors import ActNotAllowed
from mirror.models import Mailbox
from people.models import Person
from people.second_admin.registry import CanWait, ChangeInWords, second_admin
from policy import tasks
from policy.allowlists.judgement import (
    MONITOR,
    OFF,
    ListScope,
    allowable,
    judge,
    lists_in_force,
    loosens,
)
from policy.errors import StaleAllowlist
from policy.models import AllowEntry, Allowlist, GateList, PolicyVersion

# In characters.
MAX_NOTE = 300
# How many rows are written at once, and how many patterns an entry of the ledger names.
_CHUNK = 5000
_RECORDED = 50


@dataclass(frozen=True)
class WantedEntry:
    """An entry as it should be. `owner` is the key of the person responsible for it."""

    pattern: str
    note: str = ""
    owner: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Change:
    """A change of a list: a new mode (None keeps it), entries to add or change (`put`),
    and the patterns of entries to remove.
    """

    mode: str | None = None
    put: tuple[WantedEntry, ...] = ()
    remove: tuple[str, ...] = ()


def _in_words(
    locked: Allowlist,
    title: str,
    after: str,
    change: Change,
    *,
    tightens: bool,
    subjects: Sequence[int] = (),
) -> ChangeInWords:
    # Two admins signed to whom a pass sends without a person.
    named = PolicyVersion.objects.active().filter(passes__contains=_naming(locked))
    is_signed = named.exists() and Person.objects.admins_of_all().count() > 1
    widens_pass = bool(change.put) and is_signed
    return ChangeInWords(
        title=title,
        before=_summary(locked),
        after=after,
        page=locked.url,
        connection=locked.owning_connection,
        mailbox=locked.mailbox_id,
        tightens=tightens and not widens_pass,
        subjects=subjects,
        always=widens_pass,
    )


def _naming(locked: Allowlist) -> list[dict[str, Any]]:
    return [{"when": {"lists": [locked.pk]}}]


# Whether a change certainly lets out no more mail than before, so that no second admin
# is needed.
def _tightens(locked: Allowlist, change: Change) -> bool:
    # A rule of the policy that names this list applies to recipients who are on it, so
    # any change of its entries counts as loosening.
    named = PolicyVersion.objects.active().filter(rules__contains=_naming(locked))
    is_named = named.exists()
    if is_named and (change.put or change.remove):
        return False
    put = [(_read(one.pattern), one.expires_at) for one in change.put]
    stored = locked.entries.not_removed().filter(
        pattern__in=[pattern for pattern, _ in put]
    )
    others = Allowlist.objects.filter(kind=locked.kind).exclude(mode=OFF)
    return not loosens(
        kind=locked.kind,
        mode_before=locked.mode,
        mode_after=change.mode or locked.mode,
        before=dict(stored.values_list("pattern", "expires_at")),
        put=put,
        has_live_entries=locked.entries.live(clock()).exists(),
        is_alone=not others.exclude(pk=locked.pk).exists(),
    )


@atomic_with_retry
@second_admin("Allowlist", always=True)
def apply_change(
    *, scope: ListScope, kind: str, change: Change, version: int, actor: Actor
) -> CanWait[Allowlist]:
    """Change one list, and have it pushed to the gates. `version` is the one that the
    actor saw; 0 if the list was never saved.

    A change without effect makes no new version. Raises ActNotAllowed, and
    StaleAllowlist if the list has another version now.
    """
    locked = _lock(scope, kind, actor)
    if locked.version != version:
        by = locked.changed_by or "Somebody"
        raise StaleAllowlist(
            f"{by} changed this list: you saw version {version}, now it is version {locked.version}. "
            "Check the list again, then save your change."
        )
    if change.mode is not None and change.mode not in Allowlist.Mode.values:
        raise ActNotAllowed("This is not a mode of an allowlist.")
    if locked.is_bypass and change.mode == Allowlist.Mode.CONTACTS:
        raise ActNotAllowed(
            "A list of mail sent without review cannot use contacts: nobody could see whose mail it sends."
        )
    lines = []
    if change.mode not in (None, locked.mode):
        lines.append(f"mode: {change.mode}")
    # All of them, with their ends: a second admin reads nothing else of the change.
    if change.put:
        entries = [
            AllowEntry(pattern=one.pattern, expires_at=one.expires_at)
            for one in change.put
        ]
        lines.append(f"with {', '.join(map(str, entries))}")
    if change.remove:
        lines.append(f"without {', '.join(change.remove)}")
    yield lambda: _in_words(
        locked,
        f"{locked.title} for {locked.label}: change",
        "\n".join(lines) or "no change",
        change,
        tightens=_tightens(locked, change),
        subjects=[one.owner for one in change.put if one.owner],
    )
    is_only_mode = not (change.put or change.remove)
    action = "allowlist.mode_set" if is_only_mode else "allowlist.changed"
    return _save_change(locked, change, actor, action)


@atomic_with_retry
@second_admin("Allowed address", always=True)
def allow_for_days(
    *, address: str, mailbox: int, days: int = 7, actor: Actor
) -> CanWait[Allowlist]:
    """Allow one address for one mailbox for some days.

    Raises ActNotAllowed if the actor is no admin of the mailbox, or if this would allow
    more than the address, or would have no effect.
    """
    pattern = allowable(address)
    if pattern is None:
        raise ActNotAllowed("No entry can name this address, so it cannot be allowed.")
    locked = _lock(ListScope(mailbox=mailbox), Allowlist.Kind.RESTRICTION, actor)
    at = clock()
    ends = at + timedelta(days=days)
    mode = _mode_to_join(locked, at)
    put = list[WantedEntry]()
    before = locked.entries.live(at).filter(pattern=pattern).first()
    if before is None or (before.expires_at and before.expires_at < ends):
        note = f"Allowed for {days} days"
        put.append(WantedEntry(pattern, note, owner=int(actor.id), expires_at=ends))
    change = Change(mode, tuple(put))
    yield lambda: _in_words(
        locked,
        f"{locked.label}: allow {pattern} for {days} days",
        f"{pattern} may be written to for {days} days from the moment this is accepted"
        f"{f'. The list stays in mode {mode} after that.' if mode else ''}",
        change,
        tightens=not put,
    )
    return _save_change(locked, change, actor, "allowlist.allowed")


def _mode_to_join(locked: Allowlist, at: datetime) -> str | None:
    """Return the mode that this mailbox's list needs so that a new entry counts; None
    if its present mode will do.

    A list that is off does not count, so it is switched to monitor: its entries then
    count together with those of the other lists, and it refuses nobody by itself if the
    others are switched off. Raises ActNotAllowed if that would have other effects.
    """
    if locked.mode != OFF:
        return None
    if locked.entries.live(at).exists():
        raise ActNotAllowed(
            "The list of this mailbox is off, and its entries would count again too. Check them, switch the list on, "
            "and allow the address there."
        )
    assert locked.mailbox is not None, "it is the list of a mailbox"
    connection = locked.mailbox.connection_id
    in_force = lists_in_force(connections=[connection], patterns=()).for_mailbox(
        connection, locked.mailbox_id
    )
    if judge((), in_force, None, at).mode == OFF:
        raise ActNotAllowed(
            "No allowlist is enforced for this mailbox, so there is nothing to allow."
        )
    return MONITOR


def _lock(scope: ListScope, kind: str, actor: Actor) -> Allowlist:
    """Return the list of a scope, locked; it is made if there is none. Raises
    ActNotAllowed if the actor may not change it.
    """
    key = {"connection_id": scope.connection, "mailbox_id": scope.mailbox, "kind": kind}
    if not Allowlist(**key).is_administered_by(actor):
        raise ActNotAllowed(
            "Only an admin of everything that this list covers can change it."
        )
    # Whether an active rule names it must not change before this is stored.
    take_lock("policy.rules")
    # The row is made first, so that there is one to lock: if two people make the first
    # version at once, the second one waits here.
    Allowlist.objects.bulk_create([Allowlist(**key)], ignore_conflicts=True)
    rows = Allowlist.objects.select_for_update(of=("self",)).select_related(
        "mailbox", "connection"
    )
    return rows.get(**key)


def _save_change(
    locked: Allowlist, change: Change, actor: Actor, action: str
) -> Allowlist:
    """Write a change of a locked list, with its entry in the ledger."""
    before = _summary(locked)
    stored = [stored_pattern(one) for one in change.remove]
    removed = list(locked.entries.not_removed().filter(pattern__in=stored))
    # What the history of each changed entry says about this change.
    act: dict[str, Any] = {
        "at": clock(),
        "by": int(actor.id),
        "version": locked.version + 1,
    }
    # A pattern that no entry can have is an error; one that the list lacks is not.
    for pattern in {*stored} - {one.pattern for one in removed}:
        _read(pattern)
    for one in removed:
        one.removed_at = act["at"]
        one.note_change("removed", **act)
    AllowEntry.objects.bulk_update(
        removed, ["removed_at", "history"], batch_size=_CHUNK
    )
    added, altered = _put_entries(locked, change.put, act)
    if change.mode in (None, locked.mode) and not (removed or added or altered):
        return locked
    locked.mode = change.mode or locked.mode
    locked.version += 1
    locked.changed_by_id = int(actor.id)
    locked.changed_at = Now()
    locked.save(update_fields=["mode", "version", "changed_by", "changed_at"])
    locked.refresh_from_db(fields=["changed_at"])
    _mark_gates_behind(locked)
    record(
        action,
        actor=actor,
        connection=locked.owning_connection,
        details={
            "scope": str(locked.mailbox or locked.connection or "all"),
            "list": locked.kind,
            "mode": locked.mode,
            "version": str(locked.version),
            "added": _first_few(added),
            "changed": _first_few(altered),
            "removed": _first_few(removed),
            "before": before,
            "after": _summary(locked),
        },
    )
    return locked


def _put_entries(
    locked: Allowlist, put: tuple[WantedEntry, ...], act: dict[str, Any]
) -> tuple[list[AllowEntry], list[AllowEntry]]:
    """Write the entries that are new or differ from the stored ones, with `act` in
    their histories. Return (the new ones, the changed ones).

    If two wanted entries have the same pattern, the last one counts.
    """
    wanted = {_read(one.pattern): one for one in put}
    stored = {
        one.pattern: one
        for one in locked.entries.not_removed().filter(pattern__in=list(wanted))
    }
    added: list[AllowEntry] = []
    altered: list[AllowEntry] = []
    for pattern, one in wanted.items():
        entry = stored.get(pattern)
        if entry is None:
            entry = AllowEntry(allowlist=locked, pattern=pattern, added_by_id=act["by"])
            added.append(entry)
        elif entry.differs_from(one.note, one.owner, one.expires_at):
            altered.append(entry)
        else:
            continue
        entry.note = one.note[:MAX_NOTE]
        entry.owner_id = one.owner
        entry.expires_at = one.expires_at
        entry.note_change("changed" if entry.pk else "added", **act)
    AllowEntry.objects.bulk_create(added, batch_size=_CHUNK)
    AllowEntry.objects.bulk_update(
        altered, ["note", "owner", "expires_at", "history"], batch_size=_CHUNK
    )
    return added, altered


def _read(pattern: str) -> str:
    try:
        return read_pattern(pattern)
    except ValueError as error:
        raise ActNotAllowed(str(error)) from None


def _mark_gates_behind(locked: Allowlist) -> None:
    """Note for each mailbox of the list that its gate lacks this change, and enqueue
    the pushes.
    """
    mailboxes = Mailbox.objects.order_by("pk")
    if locked.mailbox_id is not None:
        mailboxes = mailboxes.filter(pk=locked.mailbox_id)
    elif locked.connection_id is not None:
        mailboxes = mailboxes.filter(connection=locked.connection_id)
    GateList.objects.bulk_create(
        [GateList(mailbox=one, kind=locked.kind, wanted=0) for one in mailboxes],
        ignore_conflicts=True,
    )
    GateList.objects.filter(mailbox__in=mailboxes, kind=locked.kind).update(
        wanted=F("wanted") + 1, next_attempt_at=Now(), attempts=0
    )
    tasks.push_lists.delay_on_commit()


def _summary(locked: Allowlist) -> str:
    return f"mode: {locked.mode}; version: {locked.version}; entries: {locked.entries.not_removed().count()}"


def _first_few(entries: Sequence[AllowEntry]) -> str:
    more = len(entries) - _RECORDED
    shown = ", ".join(map(str, entries[:_RECORDED]))
    return f"{shown} and {more:,} more" if more > 0 else shown


@transaction.atomic
def note_export(*, at: Allowlist, actor: Actor, number: int, text: str) -> None:
    """Record in the ledger that the actor exported entries that match a search text."""
    record(
        "allowlist.exported",
        actor=actor,
        connection=at.owning_connection,
        details={
            "scope": at.label,
            "list": at.kind,
            "entries": str(number),
            "search": text,
        },
    )
