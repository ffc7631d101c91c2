"""A change of a list between its form and its saving: its preview, and the signed text
that carries it there.

Exactly the previewed change is saved: the signed text is valid only for this list,
version and person.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core import signing

from common.actors import Actor
from policy.allowlists.changes import Change, WantedEntry
from policy.models import AllowEntry, Allowlist

# A form may have one mebibyte; its other fields are short.
MAX_PACKED = 950_000
# A form left open for longer is made again.
_GOOD_FOR = 24 * 3600


class InvalidDraft(Exception):
    """The signed text is not ours, too old, or somebody else's."""


@dataclass(frozen=True)
class Draft(Change):
    """A wanted change of a list. With `whole` the list will contain exactly the `put`
    entries.
    """

    whole: bool = False
    is_import: bool = False


@dataclass(frozen=True)
class EntryChange:
    """One entry before and after; of the two there is at least one."""

    pattern: str
    before: AllowEntry | None = None
    after: WantedEntry | None = None


@dataclass(frozen=True)
class Preview:
    """What a draft changes in the current list."""

    added: tuple[EntryChange, ...]
    changed: tuple[EntryChange, ...]
    removed: tuple[EntryChange, ...]
    unchanged: int
    mode_before: str
    mode_after: str
    live_after: int
    change: Change

    @property
    def is_nothing(self) -> bool:
        """Whether it changes nothing."""
        return (
            not (self.added or self.changed or self.removed)
            and self.mode_before == self.mode_after
        )


def preview(draft: Draft, at: Allowlist, *, now: datetime) -> Preview:
    """Return what the draft changes in the current list."""
    wanted = {one.pattern: one for one in draft.put}
    rows = AllowEntry.objects.of_list(at)
    named = rows if draft.whole else rows.filter(pattern__in=[*wanted, *draft.remove])
    there = {
        one.pattern: one for one in named.select_related("owner").order_by("pattern")
    }
    gone = (
        [one for one in there if one not in wanted]
        if draft.whole
        else [one for one in draft.remove if one in there]
    )
    added = tuple(
        EntryChange(pattern, after=one)
        for pattern, one in wanted.items()
        if pattern not in there
    )
    removed = tuple(EntryChange(one, there[one]) for one in gone)
    both = [
        (there[pattern], one) for pattern, one in wanted.items() if pattern in there
    ]
    changed = tuple(
        EntryChange(before.pattern, before, after)
        for before, after in both
        if (before.note, before.owner_id, before.expires_at)
        != (after.note, after.owner, after.expires_at)
    )
    live = rows.live(now).count()
    for step in (*added, *changed, *removed):
        live += _is_live(step.after, now) - _is_live(step.before, now)
    return Preview(
        added=added,
        changed=changed,
        removed=removed,
        unchanged=len(both) - len(changed),
        mode_before=at.mode,
        mode_after=draft.mode or at.mode,
        live_after=live,
        change=Change(mode=draft.mode, put=tuple(wanted.values()), remove=tuple(gone)),
    )


def _is_live(one: AllowEntry | WantedEntry | None, now: datetime) -> int:
    return int(one is not None and (one.expires_at is None or one.expires_at > now))


def pack(draft: Draft, at: Allowlist, actor: Actor) -> str:
    """Return the draft as signed text for the form that saves it. Raises ValueError
    where it is too long.
    """
    put = [
        [w.pattern, w.note, w.owner, w.expires_at.isoformat() if w.expires_at else None]
        for w in draft.put
    ]
    fields = [
        at.version,
        draft.mode,
        put,
        list(draft.remove),
        draft.whole,
        draft.is_import,
    ]
    packed = signing.dumps(fields, salt=_salt(at, actor), compress=True)
    if len(packed) > MAX_PACKED:
        raise ValueError("These are too many entries for one change. Split them.")
    return packed


def unpack(packed: str, at: Allowlist, actor: Actor) -> tuple[int, Draft]:
    """Return the version that a signed text is for, and its draft. Raises InvalidDraft."""
    try:
        fields: Any = signing.loads(packed, salt=_salt(at, actor), max_age=_GOOD_FOR)
    except signing.BadSignature:
        raise InvalidDraft from None
    version, mode, put, remove, whole, is_import = fields
    wanted = (
        WantedEntry(p, note, owner, datetime.fromisoformat(ends) if ends else None)
        for p, note, owner, ends in put
    )
    return version, Draft(mode, tuple(wanted), tuple(remove), whole, is_import)


def _salt(at: Allowlist, actor: Actor) -> str:
    return f"allowlist:{at.scope}:{at.kind}:{actor.id}"
