"""What the gate of a mailbox should have: its lists of one kind, those for all and of its connection, made into one."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from common.patterns import is_pattern
from policy.allowlists.judgement import strictest
from policy.models import AllowEntry, Allowlist, GateList
from policy.querysets import AllowlistQuerySet


@dataclass(frozen=True)
class GateEntry:
    """One entry as the gate should have it."""

    pattern: str
    expires_at: datetime | None
    note: str


@dataclass(frozen=True)
class GateContent:
    """One list as the gate should have it, by pattern."""

    mode: str
    entries: tuple[GateEntry, ...]


def content_for(gate: GateList, *, now: datetime) -> GateContent:
    """Return the one list that the gate should have.

    A restriction is the union of those that are not off, in the strictest of their modes. Of bypasses one on trial
    lets nobody skip the queue because another one is in force: in force, those on trial stay out of it.
    """
    lists = list(_concerning(gate).exclude(mode=Allowlist.Mode.OFF))
    mode = strictest(one.mode for one in lists)
    if gate.kind == Allowlist.Kind.BYPASS:
        lists = [one for one in lists if one.mode == mode]
    live = AllowEntry.objects.filter(allowlist__in=lists, removed_at=None)
    rows = live.filter(Q(expires_at=None) | Q(expires_at__gt=now)).order_by("pattern", "pk")
    entries: dict[str, GateEntry] = {}
    for pattern, expires_at, note in rows.values_list("pattern", "expires_at", "note").iterator():
        if not is_pattern(pattern):
            # Stored before today's rules. It lets nobody through, and a gate would refuse the whole list for it.
            continue
        entries[pattern] = _longer(entries.get(pattern), GateEntry(pattern, expires_at, _one_line(note)))
    return GateContent(mode=mode, entries=tuple(entries.values()))


def _concerning(gate: GateList) -> AllowlistQuerySet:
    mailbox = gate.mailbox
    everybody = Q(connection=None, mailbox=None)
    theirs = Q(connection=mailbox.connection_id) | Q(mailbox=mailbox.pk)
    return Allowlist.objects.filter(everybody | theirs, kind=gate.kind).order_by("pk")


def _longer(one: GateEntry | None, other: GateEntry) -> GateEntry:
    """Of two entries for the same the one that lasts longer stands, with the first note that was given."""
    if one is None:
        return other
    endless = one.expires_at is None or other.expires_at is None
    until = None if endless else max(one.expires_at, other.expires_at)  # type: ignore[type-var]
    return GateEntry(one.pattern, until, one.note or other.note)


def _one_line(note: str) -> str:
    """Return a note as the gate takes it: on one line, and only what prints."""
    return "".join(sign for sign in " ".join(note.split()) if sign.isprintable())
