"""What a change of a list would block, for its preview: the words of the button, and
recipients that can be allowed.

Pure: it works on what a rehearsal counted.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from common.mail_addresses import domain_of
from common.patterns import is_pattern
from policy.allowlists.drafts import Preview
from policy.allowlists.judgement import CONTACTS, ENFORCE, MONITOR, OFF, allowable
from policy.allowlists.rehearsal import Rehearsal

# How many recipients a preview offers to allow, those with the most messages first.
MAX_OFFERED = 200
_VERBS = {
    OFF: "Switch off",
    MONITOR: "Switch to Monitor",
    CONTACTS: "Allow contacts and entries",
    ENFORCE: "Enforce",
}


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
    return [
        BlockedDomain(
            domain,
            domain if is_pattern(domain) else "",
            domain in (ticked or ()),
            tuple(rows),
        )
        for domain, rows in by_domain.items()
    ]


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
    if rehearsal is None or not (
        rehearsal.more or (changes_mode and shown.mode_after in (CONTACTS, ENFORCE))
    ):
        return verb
    return (
        f"{verb}, blocking {rehearsal.more:,}"
        if rehearsal.more
        else f"{verb}, blocking none"
    )
