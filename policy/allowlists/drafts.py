"""A change of a list between its form and its saving: its preview with what it would
block, and the signed text that carries it there.

Exactly the previewed change is saved: the signed text is valid only for this list,
version and person.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core import signing

from common.actors import Actor
from common.mail_addresses import domain_of
from common.patterns import is_pattern
from policy.allowlists.changes import Change, WantedEntry
from policy.allowlists.judgement import CONTACTS, ENFORCE, MONITOR, OFF, allowable
from policy.allowlists.rehearsal import Rehearsal
from policy.models import AllowEntry, Allowlist

# How many recipients a preview offers to allow, those with the most messages first.
MAX_OFFERED = 200
_VERBS = {
    OFF: "Switch off",
    MONITOR: "Switch to Monitor",
    CONTACTS: "Allow contacts and entries",
    ENFORCE: "Enforce",
}
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

    added: Sequence[EntryChange]
    changed: Sequence[EntryChange]
    removed: Sequence[EntryChange]
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
    gone = [one for one in draft.remove if one in there]
    if draft.whole:
        gone = [one for one in there if one not in wanted]
    removed = [EntryChange(one, there[one]) for one in gone]
    added = []
    changed = []
    for pattern, after in wanted.items():
        before = there.get(pattern)
        step = EntryChange(pattern, before, after)
        if before is None:
            added.append(step)
        elif (before.note, before.owner_id, before.expires_at) != (
            after.note,
            after.owner,
            after.expires_at,
        ):
            changed.append(step)
    live = rows.live(now).count()
    for step in (*added, *changed, *removed):
        live += _is_live(step.after, now) - _is_live(step.before, now)
    return Preview(
        added=added,
        changed=changed,
        removed=removed,
        unchanged=len(wanted) - len(added) - len(changed),
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


@dataclass(frozen=True)
class BlockedRecipient:
    """A recipient that the change would block: in how many messages, the entry that
    names it, and whether it is ticked.

    Without a `pattern` no entry can name it.
    """

    address: str
    messages: int
    pattern: str
    is_ticked: bool


@dataclass(frozen=True)
class BlockedDomain:
    """The blocked recipients at one domain. Without a `pattern` the domain cannot be
    allowed as a whole.
    """

    domain: str
    pattern: str
    is_ticked: bool
    recipients: tuple[BlockedRecipient, ...]


def blocked_domains(
    blocked: Mapping[str, int], *, ticked: Collection[str] | None = None
) -> list[BlockedDomain]:
    """Return the blocked recipients by domain, those with the most messages first.

    `ticked` are the entries that a person chose; None ticks every address and no
    domain.
    """
    by_domain: dict[str, list[BlockedRecipient]] = {}
    for address, number in sorted(
        blocked.items(), key=lambda pair: (-pair[1], pair[0])
    )[:MAX_OFFERED]:
        pattern = allowable(address) or ""
        is_ticked = bool(pattern) and (ticked is None or pattern in ticked)
        row = BlockedRecipient(address, number, pattern, is_ticked)
        by_domain.setdefault(domain_of(pattern), []).append(row)
    found = []
    for domain, rows in by_domain.items():
        pattern = domain if is_pattern(domain) else ""
        is_ticked = domain in (ticked or ())
        found.append(BlockedDomain(domain, pattern, is_ticked, tuple(rows)))
    return found


def without_repeats(patterns: Iterable[str]) -> list[str]:
    """Return entries without the addresses of a domain that is among them as a whole."""
    chosen = list(dict.fromkeys(patterns))
    return [one for one in chosen if "@" not in one or domain_of(one) not in chosen]


def save_label(
    shown: Preview, rehearsal: Rehearsal | None, *, saw_version: int | None = None
) -> str:
    """Return the words of the button that saves a change: what it does, and how many
    messages it would block.

    `saw_version` is the current version where somebody else changed the list meanwhile.
    """
    changes_mode = shown.mode_before != shown.mode_after
    verb = _VERBS[shown.mode_after] if changes_mode else "Save"
    if saw_version is not None:
        verb = f"{verb} over version {saw_version}"
    if rehearsal and rehearsal.more:
        return f"{verb}, blocking {rehearsal.more:,}"
    if rehearsal and changes_mode and shown.mode_after in (CONTACTS, ENFORCE):
        return f"{verb}, blocking none"
    return verb
