"""The audit trail of a message, from its entries alone, so that it outlives every row
of the mirror.

`entries` reads the ledger for other apps. It must not query anything but the ledger.
Start reading at `views.message_trail`, then `summary`.
"""

from audit.trail.entries import (
    first_at,
    last_of,
    lines,
    recorded_actions,
    recorded_versions,
    with_subjects,
)

__all__ = [
    "first_at",
    "last_of",
    "lines",
    "recorded_actions",
    "recorded_versions",
    "with_subjects",
]
