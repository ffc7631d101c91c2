"""A change of a list between its form and its saving: what it would do, and a signed packet that carries it there.

What was shown before saving is what is saved: the packet is for this list, this version and this person alone.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core import signing

from people.actors import Actor
from policy.allowlists.changes import Change, Wanted
from policy.allowlists.scopes import ListAt
from policy.models import AllowEntry

# The desk takes a form of a mebibyte; the rest of the form is short.
MAX_PACKED = 950_000
# A form left open for longer is made anew.
_GOOD_FOR = 24 * 3600


class Unpackable(Exception):
    """The packet is none of ours, too old, or of somebody else."""


@dataclass(frozen=True)
class Draft:
    """What somebody wants of a list. With `whole` the list shall hold exactly what is put."""

    mode: str | None = None
    put: tuple[Wanted, ...] = ()
    remove: tuple[str, ...] = ()
    whole: bool = False
    is_import: bool = False


@dataclass(frozen=True)
class Step:
    """One entry before and after; of the two there is at least one."""

    pattern: str
    before: AllowEntry | None = None
    after: Wanted | None = None


@dataclass(frozen=True)
class Preview:
    """What a draft does to a list as it stands."""

    added: tuple[Step, ...]
    changed: tuple[Step, ...]
    removed: tuple[Step, ...]
    unchanged: int
    mode_before: str
    mode_after: str
    live_after: int
    change: Change

    @property
    def is_nothing(self) -> bool:
        """Whether it changes nothing."""
        return not (self.added or self.changed or self.removed) and self.mode_before == self.mode_after


def preview(draft: Draft, at: ListAt, *, now: datetime) -> Preview:
    """Return what the draft does to the list as it stands now."""
    wanted = {one.pattern: one for one in draft.put}
    rows = AllowEntry.objects.none() if at.row is None else at.row.entries.in_place()
    named = rows if draft.whole else rows.filter(pattern__in=[*wanted, *draft.remove])
    there = {one.pattern: one for one in named.select_related("owner").order_by("pattern")}
    gone = [one for one in there if one not in wanted] if draft.whole else [one for one in draft.remove if one in there]
    added = tuple(Step(pattern, after=one) for pattern, one in wanted.items() if pattern not in there)
    both = [Step(pattern, there[pattern], one) for pattern, one in wanted.items() if pattern in there]
    changed = tuple(step for step in both if _differs(step))
    live = rows.live(now).count()
    for step in (*added, *changed, *(Step(one, there[one]) for one in gone)):
        live += _is_live(step.after, now) - _is_live(step.before, now)
    return Preview(
        added=added,
        changed=changed,
        removed=tuple(Step(one, there[one]) for one in gone),
        unchanged=len(both) - len(changed),
        mode_before=at.mode,
        mode_after=draft.mode or at.mode,
        live_after=live,
        change=Change(mode=draft.mode, put=tuple(wanted.values()), remove=tuple(gone)),
    )


def _differs(step: Step) -> bool:
    before, after = step.before, step.after
    if before is None or after is None:
        return True
    return (before.note, before.owner_id, before.expires_at) != (after.note, after.owner, after.expires_at)


def _is_live(one: AllowEntry | Wanted | None, now: datetime) -> int:
    return int(one is not None and (one.expires_at is None or one.expires_at > now))


def pack(draft: Draft, at: ListAt, actor: Actor) -> str:
    """Return the draft as a packet for the form that saves it. Raises ValueError where it is too much for one."""
    put = [[w.pattern, w.note, w.owner, w.expires_at.isoformat() if w.expires_at else None] for w in draft.put]
    told = [at.version, draft.mode, put, list(draft.remove), draft.whole, draft.is_import]
    packed = signing.dumps(told, salt=_salt(at, actor), compress=True)
    if len(packed) > MAX_PACKED:
        raise ValueError("These are too many entries for one change. Bring them in several parts.")
    return packed


def unpack(packed: str, at: ListAt, actor: Actor) -> tuple[int, Draft]:
    """Return the version that a packet is for, and its draft. Raises Unpackable."""
    try:
        told: Any = signing.loads(packed, salt=_salt(at, actor), max_age=_GOOD_FOR)
    except signing.BadSignature:
        raise Unpackable from None
    version, mode, put, remove, whole, is_import = told
    wanted = (Wanted(p, note, owner, datetime.fromisoformat(ends) if ends else None) for p, note, owner, ends in put)
    return version, Draft(mode, tuple(wanted), tuple(remove), whole, is_import)


def _salt(at: ListAt, actor: Actor) -> str:
    return f"allowlist:{at.scope}:{at.kind}:{actor.id}"
