"""The audit trail of a message, told from its entries alone, so that it outlives every row of the mirror.

`entries` reads the ledger for other apps. It must not query anything but the ledger. Start reading at
`views.message_trail`, then `summary`.
"""

from audit.trail.entries import Line, acts_told, first_at, last_of, lines, versions_told, with_subjects

__all__ = ["Line", "acts_told", "first_at", "last_of", "lines", "versions_told", "with_subjects"]
