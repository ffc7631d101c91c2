"""Live updates: after commit, a tiny message to Redis. Nothing depends on it; pages without it poll."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction

from approvals.models import Message
from approvals.standing import shown_status
from approvals.status import status_of
from audit.models import Entry
from audit.recording import recorded
from common.nudge import send
from dashboard.channel import CHANNEL

# Reading changes nothing that another page shows, nor does a call that begins: the mail was leaving before, and a hint
# would only make it wait.
_QUIET = ("message.served", "message.opened", "decision.calling")
# What changes how every page looks: the banner of the kill switch, the line that tells how complete the queue is.
_STANDING = ("kill_switch.", "connection.")


def on_recorded(entry: Entry, details: Mapping[str, str], about: Any = None, **_: Any) -> None:
    """Send a hint about what happened to a message, once it has really happened."""
    if entry.message is not None and entry.action.startswith(("message.", "decision.")) and entry.action not in _QUIET:
        known = about if isinstance(about, Message) else None
        transaction.on_commit(partial(_send, entry.message, entry.action, known), robust=True)
    elif entry.action.startswith(_STANDING):
        hint = {"kind": "standing", "action": entry.action, "message": None, "connection": None, "mailbox": None}
        transaction.on_commit(partial(send, "PUBLISH", CHANNEL, json.dumps(hint)), robust=True)


def _send(public_id: UUID, action: str, known: Message | None) -> None:
    is_new = action == "message.held"
    message = known if known and is_new else Message.objects.for_list().get(public_id=public_id)
    # What was held a moment ago has no decision yet.
    status = status_of(message, None) if is_new else shown_status(message)
    hint = {
        "kind": "new" if is_new else "changed",
        "action": action,
        "message": str(public_id),
        "connection": message.connection_id,
        "mailbox": message.mailbox_id,
        "state": message.state,
        "word": status.word,
        "tone": status.tone,
        "detail": status.detail,
    }
    send("PUBLISH", CHANNEL, json.dumps(hint))


def connect() -> None:
    """Listen to the ledger."""
    recorded.connect(on_recorded, dispatch_uid="dashboard.hints")
