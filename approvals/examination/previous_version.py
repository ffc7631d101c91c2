"""Finds what was sent back before: the decision that a new message answers. One bounded query; it writes nothing."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from approvals.models import Decision
from common.fingerprint import normalise_address
from mirror.models import Message

# An agent that was asked for changes answers within days, one that names neither thread nor trigger within hours.
WINDOW = timedelta(days=7)
SHORT_WINDOW = timedelta(hours=24)
# MultiMail's clock and ours may differ a little.
SLACK = timedelta(seconds=2)
MOST = 50
_RUNS = ("run_id", "runId", "discord_interaction_id")
_PEOPLE = ("discord_user_id", "discord_user")
_ANSWER = re.compile(r"\A(?:\s*(?:re|aw|fwd?)\s*:)+", re.IGNORECASE)


def sent_back_before(message: Message) -> Decision | None:
    """Return the decision that sent an earlier version of this message back; None where there is none.

    Of several, one whose letter went to the same people comes first, then the newest.
    """
    if message.mailbox_id is None or message.direction == "inbound":
        return None
    asked = (
        Decision.objects.sent_back_between(message.held_at - WINDOW, message.held_at + SLACK)
        .filter(message__mailbox=message.mailbox_id, message__pk__lt=message.pk)
        .select_related("message")
        .order_by("-recorded_at", "-pk")
    )
    found = [decision for decision in asked[:MOST] if is_next_version(message, of=decision)]
    return next((one for one in found if _shares_people(message, one.message)), next(iter(found), None))


def is_next_version(message: Message, *, of: Decision) -> bool:
    """Whether the message comes from the thread or the trigger of the one that was sent back."""
    earlier = of.message
    if message.thread_id and message.thread_id == earlier.thread_id:
        return True
    is_about_the_same = _shares_people(message, earlier) or _plain_subject(message) == _plain_subject(earlier)
    if any(_same(message.trigger, earlier.trigger, name, other) for name in _RUNS for other in _RUNS):
        # A run may write to hundreds of people: another letter of the run is not a next version of this one.
        return is_about_the_same
    if _is_from_the_same_person(message.trigger, earlier.trigger):
        return _shares_people(message, earlier)
    is_soon = message.held_at - of.recorded_at <= SHORT_WINDOW
    is_same_key = bool(message.sent_by_key) and message.sent_by_key == earlier.sent_by_key
    has_no_trigger = not _names_trigger(message.trigger) and not _names_trigger(earlier.trigger)
    is_same_letter = _shares_people(message, earlier) and _plain_subject(message) == _plain_subject(earlier)
    return is_soon and is_same_key and has_no_trigger and is_same_letter


def _same(trigger: Mapping[str, Any], other: Mapping[str, Any], name: str, other_name: str) -> bool:
    is_interaction = "discord_interaction_id" in (name, other_name)
    if is_interaction and name != other_name:
        return False
    return bool(trigger.get(name)) and str(trigger[name]) == str(other.get(other_name))


def _is_from_the_same_person(trigger: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    is_same_person = any(_same(trigger, other, name, name) for name in _PEOPLE)
    return is_same_person and trigger.get("discord_channel") == other.get("discord_channel")


def _names_trigger(trigger: Mapping[str, Any]) -> bool:
    return any(trigger.get(name) for name in (*_RUNS, *_PEOPLE))


def _shares_people(message: Message, other: Message) -> bool:
    return bool({*map(_folded, message.recipients)} & {*map(_folded, other.recipients)})


def _folded(address: object) -> str:
    return normalise_address(str(address)).lower()


def _plain_subject(message: Message) -> str:
    return _ANSWER.sub("", message.subject[:1000]).strip().casefold()
