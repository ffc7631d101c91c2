"""Live updates: after commit, a tiny message to Redis. Nothing depends on it; pages
without it poll.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from django.db import transaction

from approvals.decisions.status import shown_status, status_of
from approvals.desk_messages import shown_message
from approvals.examination import started_by
from approvals.models import Claim, Comment, Decision, Snooze
from audit.models import Entry
from audit.recording import recorded
from common.actors import Role, operator
from common.redis import send
from dashboard.live import CHANNEL
from mirror.models import Message
from people.sign_in.sessions import access_changed
from rendering import named

# Reading changes nothing that other pages show. Nor does the start of a call: the mail
# was leaving before, and a hint would only delay it.
_QUIET = ("message.served", "message.opened", "decision.calling")
_CHANGING = (
    "message.",
    "decision.",
    "approval.",
    "verdict.taken_back",
    "webhook.unconfirmed",
    "webhook.refuted",
)
# Actions that change every page: the kill-switch banner, and the line on how complete
# the queue is.
_STANDING = ("kill_switch.", "connection.")
# Claims, snoozes and comments: the message's state does not change, only the people
# shown with it.
_BESIDE = ("claim.", "snooze.", "comment.")
MAX_SUBJECT = 120
# Whom a hint is forwarded to, the live process decides.
_EVERYBODY = operator("live", Role.AUDITOR)


def on_recorded(
    entry: Entry, details: Mapping[str, str], about: Any = None, **_: Any
) -> None:
    """Send a hint about a message after the transaction is committed."""
    if (
        entry.message is not None
        and entry.action.startswith(_CHANGING)
        and entry.action not in _QUIET
    ):
        known = about if isinstance(about, Message | Decision) else None
        is_apart = bool(details.get("brake"))
        _after_commit(_send, entry.message, entry.action, known, is_apart)
    elif entry.action.startswith(_BESIDE) and isinstance(
        about, Claim | Snooze | Comment
    ):
        _after_commit(_send_collaboration, entry, about)
    elif entry.action.startswith(_STANDING):
        hint = {
            "kind": "standing",
            "action": entry.action,
            "message": None,
            "connection": None,
            "mailbox": None,
        }
        _after_commit(_publish, hint)


def _after_commit(call: Callable[..., None], *arguments: Any) -> None:
    # No `partial`, whose error Django cannot log.
    transaction.on_commit(lambda: call(*arguments), robust=True)


def _publish(hint: Mapping[str, Any]) -> None:
    send("PUBLISH", CHANNEL, json.dumps(hint))


def _send(
    public_id: UUID, action: str, known: Message | Decision | None, is_apart: bool
) -> None:
    is_new = action == "message.held"
    if isinstance(known, Decision) and (
        action == "decision.recorded" or known.says_all
    ):
        message = known.message
        status = status_of(known.message, known)
    elif is_new and isinstance(known, Message):
        # It was held just now, so it has no decision yet.
        message = known
        status = status_of(known, None)
    elif found := shown_message(_EVERYBODY, public_id):
        message = found
        status = shown_status(found)
        is_apart = found.review.is_apart
    else:
        return
    if is_new and is_apart:
        # A message of a flood is not in the queue.
        return
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
    if is_new:
        # For desktop notifications: only the message's subject, and who started it.
        starter = started_by(message).partition(":")[2] or str(
            message.mailbox or message.sender or ""
        )
        hint |= {"subject": _called(message), "starter": named(starter)[:MAX_SUBJECT]}
    _publish(hint)


def _send_collaboration(entry: Entry, about: Claim | Snooze | Comment) -> None:
    message = about.message
    hint = {
        "kind": "beside",
        "action": entry.action,
        "message": str(message.public_id),
        "connection": message.connection_id,
        "mailbox": message.mailbox_id,
        "person": str(about.person_id),
        "name": str(about.person),
    }
    if isinstance(about, Comment):
        asked = [str(key) for key in about.mentions.values_list("pk", flat=True)]
        hint |= {"asked": asked, "subject": _called(message)}
    _publish(hint)


def on_access_changed(person: int | None, **_: Any) -> None:
    """Make a person's streams check the session again: it ended, or the person lost a
    role.
    """
    hint = {"kind": "reach", "action": "person.reach", "person": str(person)}
    _after_commit(_publish, hint)


def _called(message: Message) -> str:
    return named(message.subject)[:MAX_SUBJECT]


def connect() -> None:
    """Connect the receivers for ledger entries and ended sessions."""
    recorded.connect(on_recorded, dispatch_uid="dashboard.live.hints")
    access_changed.connect(on_access_changed, dispatch_uid="dashboard.live.hints.reach")
