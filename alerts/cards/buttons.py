"""The buttons under a card that decide about its message, and the text by which a chat
service says which one was pressed.

That text is no secret and proves nothing: channels/presses.py checks who pressed, on
which card, and whether the message has changed since.
"""

import re
from dataclasses import dataclass
from uuid import UUID

from alerts.cards.markup import Card

# Action and label, in their order on a card.
BUTTONS = {"approve": "Approve", "reject": "Reject", "claim": "Claim"}
_CUSTOM_ID = re.compile(
    r"cs:(approve|reject|claim):([0-9a-f]{32}):([1-9][0-9]{0,18})", re.ASCII
)
# The largest key that the database can have.
_MAX_REVISION = 2**63 - 1


@dataclass(frozen=True)
class Button:
    """What a button's text says: an action, a message, and the key of the version that
    the card showed.
    """

    action: str
    message: UUID
    revision: int


def buttons_of(card: Card) -> list[tuple[str, str, str]]:
    """Return the buttons of a card as (action, label, custom id). A message that waits
    for no decision, or whose content is not fetched yet, has none. Approve needs a card
    that shows all of the message.

    A risky message has the button Approve too, although it can be approved only on the
    desk: whoever presses it is told so, with the link. Without the button people would
    think that something is broken, or that nobody can approve the message.
    """
    if not card.is_open or card.message is None or card.revision is None:
        return []
    return [
        (action, label, custom_id(action, card.message, card.revision))
        for action, label in BUTTONS.items()
        if action != "approve" or card.shows_all
    ]


def custom_id(action: str, message: UUID, revision: int) -> str:
    """Return the text that the service sends back when the button is pressed."""
    return f"cs:{action}:{message.hex}:{revision}"


def read_custom_id(text: str) -> Button | None:
    """Return what a custom id says; None if it does not have the desk's format."""
    parts = _CUSTOM_ID.fullmatch(text)
    if parts is None or int(parts[3]) > _MAX_REVISION:
        return None
    return Button(parts[1], UUID(hex=parts[2]), int(parts[3]))
