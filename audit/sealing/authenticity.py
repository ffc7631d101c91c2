"""Whether the desk wrote the entries that are about to be sealed, and whether their times fit."""

from collections.abc import Sequence
from datetime import datetime

from audit.models import Entry, Leaf
from audit.recording import is_authentic
from audit.sealing.refusals import SealingRefused
from audit.verifier import countersign_verify as verifier


def has_macs() -> bool:
    """Whether the last entry that was sealed has a code. Entries of releases before 0009 have none."""
    last = Leaf.objects.order_by("-position").values_list("entry", flat=True)[:1]
    return Entry.objects.filter(pk__in=last).exclude(mac="").exists()


def check_macs(entries: Sequence[Entry], *, had_macs: bool) -> None:
    """Raise SealingRefused for an entry that the desk did not write, or that repeats another one.

    With `had_macs`, entries with codes were sealed before these, and an entry without a code is refused too.
    """
    first: dict[str, int] = {}
    for entry in entries:
        if not entry.mac:
            if had_macs:
                raise SealingRefused(f"Entry {entry.pk} was not written by the desk: it has no code.")
            continue
        had_macs = True
        if not is_authentic(entry):
            raise SealingRefused(f"Entry {entry.pk} was not written by the desk: its code does not fit.")
        if entry.mac in first:
            raise SealingRefused(f"Entry {entry.pk} repeats entry {first[entry.mac]}.")
        first[entry.mac] = entry.pk
    if earlier := Entry.objects.filter(mac__in=list(first)).exclude(pk__in=first.values()).first():
        raise SealingRefused(f"Entry {first[earlier.mac]} repeats entry {earlier.pk}.")


def misdated(entries: Sequence[Entry], *, before: datetime | None, at: datetime) -> list[int]:
    """Return the numbers of entries whose time does not lie between the seal before and this moment."""
    begin, end = verifier.window(before.isoformat() if before else "", at.isoformat())
    return [one.pk for one in entries if not begin <= one.at.isoformat(timespec="microseconds").encode() <= end]
