"""Live updates: after commit, a tiny message to Redis. Nothing depends on it; pages without it poll."""

import json
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import redis
from django.conf import settings
from django.db import transaction

from approvals.models import Message
from approvals.status import status_of
from audit.models import Entry
from audit.recording import recorded
from common.nudge import try_to_send
from dashboard.channel import CHANNEL

# Reading changes nothing that another page shows.
_QUIET = ("message.served", "message.opened")


@cache
def _redis() -> "redis.Redis":
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=0.5, socket_connect_timeout=0.5)


def on_recorded(entry: Entry, details: Mapping[str, str], **_: Any) -> None:
    """Send a hint about what happened to a message, once it has really happened."""
    if entry.message is not None and entry.action.startswith(("message.", "decision.")) and entry.action not in _QUIET:
        transaction.on_commit(partial(_send, entry.message, entry.action), robust=True)


def _send(public_id: Any, action: str) -> None:
    message = Message.objects.select_related("mailbox").get(public_id=public_id)
    decision = message.decisions.select_related("given_by").order_by("-pk").first()
    status = status_of(message, decision)
    hint = {
        "kind": "new" if action == "message.held" else "changed",
        "action": action,
        "message": str(public_id),
        "connection": message.connection_id,
        "mailbox": message.mailbox_id,
        "state": message.state,
        "word": status.word,
        "tone": status.tone,
        "detail": status.detail,
    }
    try_to_send(lambda: _redis().publish(CHANNEL, json.dumps(hint)), "no live hint")


def connect() -> None:
    """Listen to the ledger."""
    recorded.connect(on_recorded, dispatch_uid="dashboard.hints")
