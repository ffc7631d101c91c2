"""Whether the desk wrote what is about to be sealed, and when it says that it was written."""

from collections.abc import Sequence
from datetime import datetime

from audit import codes
from audit.models import Entry, Leaf
from audit.proving import countersign_verify as verifier
from audit.sealing.telling import SealingRefused


def has_codes() -> bool:
    """Whether the last entry that was sealed has a code: those of before the desk made codes have none."""
    last = Leaf.objects.order_by("-position").values_list("entry", flat=True)[:1]
    return Entry.objects.filter(pk__in=last).exclude(code="").exists()


def check_codes(entries: Sequence[Entry], *, had_codes: bool) -> None:
    """Raise SealingRefused for an entry that the desk did not write, or that repeats what another says.

    `had_codes`: entries with codes were sealed before these, so that none comes without any more.
    """
    for entry in entries:
        if entry.code:
            had_codes = True
            if not codes.is_ours(entry):
                raise SealingRefused(f"Entry {entry.pk} was not written by the desk: its code does not fit.")
        elif had_codes:
            raise SealingRefused(f"Entry {entry.pk} was not written by the desk: it has no code.")
    numbers = {entry.code: entry.pk for entry in entries if entry.code}
    if len(numbers) < sum(bool(entry.code) for entry in entries):
        repeated = next(entry for entry in entries if entry.code and numbers[entry.code] != entry.pk)
        raise SealingRefused(f"Entry {numbers[repeated.code]} repeats entry {repeated.pk}.")
    known = Entry.objects.filter(code__in=list(numbers)).exclude(pk__in=numbers.values())
    if before := known.first():
        raise SealingRefused(f"Entry {numbers[before.code]} repeats entry {before.pk}.")


def misdated(entries: Sequence[Entry], *, before: datetime | None, at: datetime) -> list[int]:
    """Return the numbers of entries whose time does not lie between the seal before and this moment."""
    begin, end = verifier.window(before.isoformat() if before else "", at.isoformat())
    return [one.pk for one in entries if not begin <= one.at.isoformat(timespec="microseconds").encode() <= end]
