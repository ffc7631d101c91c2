"""Where entries are sealed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from audit.models import Leaf, Seal


@dataclass(frozen=True)
class At:
    """Where one entry stands: its seal, or none yet."""

    seal: int | None = None
    sealed_at: datetime | None = None


@dataclass(frozen=True)
class Standing:
    """How many of a message's entries are sealed, and the newest seal that covers one."""

    sealed: int
    entries: int
    newest: Seal | None


def places_of(entries: Iterable[int]) -> dict[int, At]:
    """Return where each of these entries is sealed, in two queries."""
    wanted = list(entries)
    seals = dict(Leaf.objects.filter(entry__in=wanted).values_list("entry", "seal"))
    times = dict(Seal.objects.filter(number__in=set(seals.values())).values_list("number", "at"))
    return {one: At(seals[one], times.get(seals[one])) if one in seals else At() for one in wanted}


def standing_of(entries: Iterable[int]) -> Standing:
    """Return how far all of these are sealed."""
    wanted = list(entries)
    seals = list(Leaf.objects.filter(entry__in=wanted).values_list("seal", flat=True))
    newest = Seal.objects.filter(number=max(seals)).first() if seals else None
    return Standing(len(seals), len(wanted), newest)
