"""When the personal details of a message were removed."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from audit.models import Entry
from audit.trail import Line, lines
from audit.trail.sentences import Sentence, sentence, theirs

# So many removals by age are looked through for the one that took an entry.
_MOST = 1000


def what_was_removed(told: Sequence[Line]) -> Iterator[Sentence]:
    """Yield what was removed and when: by request, or by age."""
    gone = [line for line in told if line.is_redacted]
    if not gone:
        return
    number = f"{len(gone):,} of {len(told):,} entries" if len(gone) < len(told) else "all entries"
    erased = [line for line in told if line.entry.action == "ledger.details_erased"]
    at = erased[-1].entry.at if erased else _by_age(gone[-1])
    when = (" were removed on ", at) if at else (" were removed",)
    why = (", by ", theirs(erased[-1].actor)) if erased else ()
    yield sentence(f"The personal details of {number}", *when, *why, ". The entries can still be checked.")


def _by_age(line: Line) -> datetime | None:
    """Return when details as old as these were first removed, where the ledger still tells."""
    removals = Entry.objects.of_action("ledger.details_removed").after(line.entry.pk).oldest_first()
    for removal in lines(removals[:_MOST]):
        told = removal.details.get("up to", "").removesuffix(" UTC")
        try:
            reached = datetime.strptime(told, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        except ValueError:
            continue
        if reached >= line.entry.at:
            return removal.entry.at
    return None
