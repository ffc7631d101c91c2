"""What Discord is answered: bodies in its form, seen only by whoever pressed, and pinging nobody."""

from dataclasses import dataclass
from typing import Any

from alerts.channels.discord.interactions.followup import MAX_CONTENT
from alerts.channels.discord.interactions.reading import REASON
from alerts.channels.discord.markdown import cut
from approvals.decisions.forms import MAX_REASON

Body = dict[str, Any]
_PONG, _MESSAGE, _DEFERRED, _CHOICES, _FORM = 1, 4, 5, 8, 9
_EPHEMERAL = 64
_LABEL, _TEXT_INPUT, _PARAGRAPH = 18, 4, 2

PONG: Body = {"type": _PONG}
# Discord shows that the desk is thinking, to whoever asked alone, until the answer is put there.
DEFERRED: Body = {"type": _DEFERRED, "data": {"flags": _EPHEMERAL}}
# Of a fault of ours; the log has it.
FAULT = "Something went wrong in the desk itself; whoever runs it finds it in its log."
BROKEN = f"{FAULT} Nothing was done."


@dataclass(frozen=True)
class Said:
    """How a press ended: in a word, and what is answered: a sentence, or the form that asks for more."""

    outcome: str
    content: str = ""
    form: str = ""

    def body(self) -> Body:
        """Return the answer at once."""
        return reason_form(self.form) if self.form else private(self.content)


def choices(names: list[str]) -> Body:
    """Return what can stand in the option that somebody is filling in."""
    return {"type": _CHOICES, "data": {"choices": [{"name": name, "value": name} for name in names]}}


def private(content: str) -> Body:
    """Return a message for whoever pressed alone."""
    data = {"content": cut(content, MAX_CONTENT), "flags": _EPHEMERAL, "allowed_mentions": {"parse": []}}
    return {"type": _MESSAGE, "data": data}


def reason_form(custom_id: str) -> Body:
    """Return the form that asks why a message is rejected; its id says which message and version it is about."""
    field = {
        "type": _TEXT_INPUT,
        "custom_id": REASON,
        "style": _PARAGRAPH,
        "min_length": 1,
        "max_length": MAX_REASON,
        "required": True,
    }
    asked = {
        "type": _LABEL,
        "label": "Why? The agent reads these words.",
        "description": "Say it so that the agent can do better next time.",
        "component": field,
    }
    return {"type": _FORM, "data": {"custom_id": custom_id, "title": "Reject this message", "components": [asked]}}
