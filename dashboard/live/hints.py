"""Publishes hints: when something changes that open pages show, a small JSON message
goes to Redis after the commit. Nothing depends on hints; pages that get none poll.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db import transaction

from approvals.decisions.status import shown_status, status_of
from approvals.desk_messages import shown_message
from approvals.models import Claim, Comment, Decision, Snooze
from audit.models import Entry
from audit.recording import recorded
from common.actors import Role, operator
from common.redis import send
from dashboard.live import CHANNEL
from mirror.models import Message
from notices.models import Notice
from notices.signals import made
from people.sign_in.sessions import access_changed

# Actions without a hint. Reading changes nothing that other pages show. The start of a
# call to MultiMail does not either, and publishing a hint would only delay the call.
_QUIET = ("message.served", "message.opened", "decision.calling")
# The beginnings of actions that change a message's state.
_CHANGING = (
    "message.",
    "decision.",
    "approval.",
    "verdict.taken_back",
    "webhook.unconfirmed",
    "webhook.refuted",
)
# The beginnings of actions that change every page: the banner about kill switches, and
# the line about how complete the queue is.
_STANDING = ("kill_switch.", "connection.")
# The beginnings of actions on claims, snoozes and comments: these change only which
# people are shown with a message.
_BESIDE = ("claim.", "snooze.", "comment.")
# The actor that reads messages for hints. It sees all, because the live process decides
# who gets a hint.
_EVERYBODY = operator("live", Role.AUDITOR)


def on_recorded(
    entry: Entry, details: Mapping[str, str], about: Any = None, **_: Any
) -> None:
    """Publish the hint for a new ledger entry after its transaction is committed, if
    the entry's action has one.
    """
    if (
        entry.message is not None
        and entry.action.startswith(_CHANGING)
        and entry.action not in _QUIET
    ):
        changed = about if isinstance(about, Message | Decision) else None
        is_apart = bool(details.get("brake"))
        _after_commit(_send, entry.message, entry.action, changed, is_apart)
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
    # Not a `partial`: Django could not log its error, because it has no name.
    transaction.on_commit(lambda: call(*arguments), robust=True)


def _publish(hint: Mapping[str, Any]) -> None:
    send("PUBLISH", CHANNEL, json.dumps(hint))


def _send(
    public_id: UUID, action: str, changed: Message | Decision | None, is_apart: bool
) -> None:
    is_new = action == "message.held"
    if isinstance(changed, Decision) and (
        action == "decision.recorded" or changed.says_all
    ):
        message = changed.message
        status = status_of(message, changed)
    elif is_new and isinstance(changed, Message):
        # It was held just now, so it has no decision yet.
        message = changed
        status = status_of(changed, None)
    elif shown := shown_message(_EVERYBODY, public_id):
        message = shown
        status = shown_status(shown)
        is_apart = shown.review.is_apart
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
        "code": status.code,
    }
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
        mentioned = [str(key) for key in about.mentions.values_list("pk", flat=True)]
        hint["asked"] = mentioned
    _publish(hint)


def on_access_changed(person: int | None, **_: Any) -> None:
    """Publish a hint that a person's session ended or their roles changed; their
    streams then check the session again.
    """
    hint = {"kind": "reach", "action": "person.reach", "person": str(person)}
    _after_commit(_publish, hint)


def on_notices_made(notices: Iterable[Notice], **_: Any) -> None:
    """Publish a hint to the pages of each person who has a new notice."""
    for person in {one.person_id for one in notices}:
        hint = {"kind": "notices", "action": "notice.made", "person": str(person)}
        _after_commit(_publish, hint)


def connect() -> None:
    """Connect the receivers: for new ledger entries and notices, and for changes of
    people's access.
    """
    recorded.connect(on_recorded)
    made.connect(on_notices_made)
    access_changed.connect(on_access_changed)
