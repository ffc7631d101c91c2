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
    # Whether a 422 names every unknown field, or the first one only.
    names_all: bool = False
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
    # The account answers a key without `read` with 403.
    account_needs_read: bool = True
    # Words of states.
    held_word: str = "pending_send_approval"
    sent_word: str = "sent"
    approved_word: str = "approved_and_sent"
    # A to D: the four shapes of events, each with its spelling of the names.
    envelope: str = "A"
    # ulid, number, uuid, odd, long
    ids: str = "ulid"
    page_size: int = 20
    # A list goes on for ever: each cursor leads to the same rows and a new cursor.
    endless: bool = False
    # So many bytes more in the text of each held message.
    padding: int = 0
    # 429 after so many calls within a minute; 0 is no limit.
    calls_a_minute: int = 0
    latency: float = 0.0
    # Added to all times that it tells.
    clock_off: float = 0.0
    # The account is closed: 403 for everything.
    closed: bool = False
    # For the next so many changes: carried out and then 500; answered 200 and not
    # carried out; 503 and not carried out.
    breaks_after: int = 0
    does_nothing: int = 0
    breaks_before: int = 0
    # An approval of what was approved sends it again, as a host without
    # first-decision-wins would.
    repeats: bool = False
    # Events wait until they are released by `/_control`.
    holds_events: bool = False
    # The next so many events are never sent.
    loses_events: int = 0
    # Single points in which answers differ from the documents: `altered.py`.
    alters: dict[str, Any] = field(default_factory=dict)
    # Each event is sent so many times.
    copies: int = 1


STRICT = {
    "strict": True,
    "takes_reason": False,
    "shows": [],
    "tells_outcome": False,
}
TEMPERS = {"lenient": {}, "strict": STRICT}
