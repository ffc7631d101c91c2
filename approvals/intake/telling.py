"""What the ledger keeps of a message where it is first told of: what it is, to whom, and who or what started it."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

MAX_TRIGGERS = 30


class Told(Protocol):
    """A message of the mirror, or an event that tells of one."""

    @property
    def subject(self) -> str: ...
    @property
    def sender(self) -> str: ...
    @property
    def direction(self) -> str: ...


def details_of(
    told: Told, *, recipients: Iterable[str], trigger: Mapping[str, Any], key: str = "", **more: str
) -> dict[str, str]:
    """Return the details of an entry; `key` is what it was sent with, where MultiMail says so."""
    return {
        "subject": told.subject,
        "sender": told.sender,
        "recipients": ", ".join(recipients),
        # Told where it is not what one expects.
        "direction": told.direction if told.direction == "inbound" else "",
        "key": key,
        **more,
        **trigger_details(trigger),
    }


def trigger_details(trigger: Mapping[str, Any]) -> dict[str, str]:
    """Return what the ledger keeps of the trigger: texts and numbers by name, as the sender wrote them."""
    return {
        f"trigger.{name}"[:80]: str(value)[:500]
        for name, value in list(trigger.items())[:MAX_TRIGGERS]
        if isinstance(value, str | int) and not isinstance(value, bool)
    }
