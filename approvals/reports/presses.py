"""Presses that the desk let no decision come of, in a month: they are entries of the ledger and nothing else."""

from dataclasses import dataclass

from approvals.reports.months import Month
from audit.models import Entry
from audit.search.filters import Filters
from audit.search.results import matching
from people.actors import Actor


@dataclass(frozen=True)
class Presses:
    """How many, and the address of exactly these in the ledger."""

    number: int
    query: str


def refused_presses(actor: Actor, month: Month) -> Presses:
    """Return what was refused of whatever the actor reads in the ledger (relies on entry_action)."""
    asked = f"action=verdict.refused&since={month}&until={month}"
    filters = Filters.from_query(asked, month.zone).pinned()
    found = matching(Entry.objects.readable_by(actor), filters)
    return Presses(found.count(), filters.query())
