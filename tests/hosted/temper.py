"""The switches of the stand-in for hosted MultiMail: behaviours that the public
documents leave open, and faults. Each can be changed while it runs.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Temper:
    """How this host behaves. The defaults are the lenient host."""

    # Whether unknown fields and parameters are refused with 422; else they are ignored.
    strict: bool = False
    # Whether `reason` of a decision is a known field. If not, it is refused or ignored.
    takes_reason: bool = True
    # Fields of the pending list's rows besides those of the OpenAPI document.
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
    # Whether a 409 to a decision has the message's status and earlier decision.
    tells_outcome: bool = True
    # What answers call the states "held" and "sent".
    held_word: str = "pending_send_approval"
    sent_word: str = "sent"
    # The form of ids: "ulid", or "odd" with characters that must be quoted in URLs.
    ids: str = "ulid"
    # How many of the next changes are carried out and answered with 500, answered with
    # 200 but not carried out, or answered with 503 and not carried out.
    breaks_after: int = 0
    does_nothing: int = 0
    breaks_before: int = 0
    # Whether a second approval sends the message again; otherwise the first decision
    # wins.
    repeats: bool = False
    # How many of the next events are never sent.
    loses_events: int = 0
    # Changes of single answers, see `altered.py`.
    alters: dict[str, Any] = field(default_factory=dict)


STRICT = {
    "strict": True,
    "takes_reason": False,
    "shows": [],
    "tells_outcome": False,
}
TEMPERS = {"lenient": {}, "strict": STRICT}
