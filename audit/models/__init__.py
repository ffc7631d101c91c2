"""The ledger's tables: entries, the seals over them, and what people keep of their searches and exports."""

from audit.models.entries import Entry, EntryDetail, EntryQuerySet
from audit.models.keeping import Check, Export, SavedSearch
from audit.models.seals import BLOCK, Anchor, Block, Leaf, Seal

__all__ = [
    "BLOCK",
    "Anchor",
    "Block",
    "Check",
    "Entry",
    "EntryDetail",
    "EntryQuerySet",
    "Export",
    "Leaf",
    "SavedSearch",
    "Seal",
]
