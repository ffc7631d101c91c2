"""The buttons under a card that the bot posts, and what a press on one of them says it is about.

What stands in a custom id is no secret and proves nothing: the press is judged by who pressed, on what, and when.
"""

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

ACTS = ("approve", "reject", "claim")
# Discord takes no longer address under a button.
MAX_LINK = 512
_ROW, _BUTTON = 1, 2
_SECONDARY, _SUCCESS, _DANGER, _LINK = 2, 3, 4, 5
_BUTTONS = (("approve", "Approve", _SUCCESS), ("reject", "Reject", _DANGER), ("claim", "Claim", _SECONDARY))
_CUSTOM_ID = re.compile(r"cs:(approve|reject|claim):([0-9a-f]{32}):([1-9][0-9]{0,18})", re.ASCII)
_MOST = 2**63 - 1


@dataclass(frozen=True)
class Pressed:
    """What the card showed that was pressed: the message, and which version of it."""

    act: str
    message: UUID
    revision: int


def components(message_public_id: UUID, revision_id: int | None, link: str, is_open: bool) -> list[dict[str, Any]]:
    """Return the rows of buttons; what is not open, or whose content is not there yet, can only be looked at.

    Approve stands under risky messages too. Were it missing there, people would take it for a fault, or think that
    the message could not be approved at all; pressed, it says why this one is decided on the desk, with the link.
    """
    row: list[dict[str, Any]] = []
    if is_open and revision_id is not None:
        row = [
            {
                "type": _BUTTON,
                "style": style,
                "label": label,
                "custom_id": custom_id(act, message_public_id, revision_id),
            }
            for act, label, style in _BUTTONS
        ]
    if len(link) <= MAX_LINK:
        row.append({"type": _BUTTON, "style": _LINK, "label": "Open", "url": link})
    return [{"type": _ROW, "components": row}] if row else []


def custom_id(act: str, message: UUID, revision: int) -> str:
    """Return what Discord sends back when the button is pressed."""
    return f"cs:{act}:{message.hex}:{revision}"


def read_custom_id(text: str) -> Pressed | None:
    """Return what was pressed, or None for whatever this desk never wrote."""
    found = _CUSTOM_ID.fullmatch(text)
    if found is None or int(found[3]) > _MOST:
        return None
    return Pressed(found[1], UUID(hex=found[2]), int(found[3]))
