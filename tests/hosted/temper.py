"""Every switch of the stand-in: what the public documents leave open, and what goes
wrong.

Each can be changed while it runs.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Temper:
    """How this host behaves. The defaults are the lenient host."""

    # Unknown fields and parameters are 422 and named; otherwise they are ignored.
    strict: bool = False
    # Whether `reason` of a decision is a known field; where it is not, it is refused or
    # ignored, and never kept.
    takes_reason: bool = True
    # What rows of the pending list have beyond the fields of the OpenAPI document.
    shows: list[str] = field(
        default_factory=lambda: [
            "cc",
            "bcc",
            "attachments",
            "thread_id",
            "metadata",
            "send_at",
        ]
    )
    # Whether a 409 of a decision tells the message's status and how it was decided.
    tells_outcome: bool = True
    # Words of states.
    held_word: str = "pending_send_approval"
    sent_word: str = "sent"
    # ulid, odd
    ids: str = "ulid"
    # For the next so many changes: carried out and then 500; answered 200 and not
    # carried out; 503 and not carried out.
    breaks_after: int = 0
    does_nothing: int = 0
    breaks_before: int = 0
    # An approval of what was approved sends it again, as a host without
    # first-decision-wins would.
    repeats: bool = False
    # The next so many events are never sent.
    loses_events: int = 0
    # Single points in which answers differ from the documents: `altered.py`.
    alters: dict[str, Any] = field(default_factory=dict)


STRICT = {
    "strict": True,
    "takes_reason": False,
    "shows": [],
    "tells_outcome": False,
}
TEMPERS = {"lenient": {}, "strict": STRICT}
