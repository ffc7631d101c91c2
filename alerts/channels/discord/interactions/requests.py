"""Reads a signed interaction strictly: what has not the form that Discord documents is
no interaction.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from alerts.channels.discord.replies import REASON
from alerts.models import Interaction
from common.unique_keys import DuplicateKey, unique_keys

PING = 1
COMMAND = 2
COMPONENT = 3
AUTOCOMPLETE = 4
FORM = 5
_KINDS = {
    COMMAND: Interaction.Kind.COMMAND,
    COMPONENT: Interaction.Kind.PRESS,
    FORM: Interaction.Kind.FORM,
}
_NAME = 100
_LONGEST = 4096
# PostgreSQL cannot store these.
_UNFIT = re.compile("[\0\ud800-\udfff]")
# Discord accepts no longer text for an option.
_MOST_TYPED = 6000


class NoInteraction(Exception):
    """The body is signed, but is no interaction that Discord documents; with a sentence
    where more can be said.
    """


@dataclass(frozen=True)
class Received:
    """What came. `columns` is how it is stored; `options` what a press, a form or a
    command contains, in JSON.

    For a command that is being filled in `options` is the option where somebody types.
    """

    type: int
    discord_id: str = ""
    app_id: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)


def read_interaction(body: bytes) -> Received:
    """Return what came. Raises NoInteraction."""
    try:
        read = json.loads(body, object_pairs_hook=unique_keys)
        if any(_UNFIT.search(text) for text in _texts(read)):
            raise NoInteraction
    except DuplicateKey as error:
        raise NoInteraction(str(error)) from None
    except (ValueError, RecursionError):
        raise NoInteraction from None
    whole = _object(read)
    kind = whole.get("type")
    if type(kind) is not int or kind not in (PING, AUTOCOMPLETE, *_KINDS):
        raise NoInteraction
    if kind == PING:
        return Received(kind)
    data = _object(whole.get("data"))
    # In a server Discord sends the member, in a direct message the user.
    sender = _object(whole["member"]) if whole.get("member") else whole
    user = _object(sender.get("user"))
    channel = _object(whole.get("channel") or {})
    stored_as = _KINDS.get(kind, "")
    name = stored_as
    if kind in (COMMAND, AUTOCOMPLETE):
        name = _text(data.get("name"), 40)
    columns = {
        "kind": stored_as,
        "token": _text(whole.get("token"), _LONGEST),
        "name": name,
        "options": json.dumps(_options(kind, whole, data)),
        "discord_user_id": _number(user.get("id")),
        "discord_user": _text(user.get("username") or "", _LONGEST)[:_NAME],
        "discord_channel": _text(channel.get("name") or "", _LONGEST)[:_NAME],
        "discord_channel_id": _known_number(whole.get("channel_id")),
        "discord_guild_id": _known_number(whole.get("guild_id")),
    }
    return Received(
        kind, _number(whole.get("id")), _number(whole.get("application_id")), columns
    )


def _options(kind: int, whole: Mapping[str, Any], data: Mapping[str, Any]) -> Any:
    if kind in (COMMAND, AUTOCOMPLETE):
        options = [_object(one) for one in _list(data.get("options") or [])]
        if kind == AUTOCOMPLETE:
            return next((_option(one) for one in options if one.get("focused")), {})
        return [
            _option(one)
            for one in options
            if not isinstance(one.get("value"), int | float | None)
        ]
    message = _object(whole.get("message") or {})
    pressed = {
        "custom_id": _text(data.get("custom_id"), 100),
        "card": _known_number(message.get("id")),
    }
    if kind == FORM:
        pressed[REASON] = _typed(data)
    return pressed


def _option(row: Mapping[str, Any]) -> dict[str, str]:
    """Return what was typed at one option. All of ours are text."""
    return {
        "name": _text(row.get("name"), _NAME),
        "value": _text(row.get("value"), _MOST_TYPED),
    }


def _typed(data: Mapping[str, Any]) -> str:
    """Return the reason of the form, whose field is in a row, or under a label."""
    for row in _list(data.get("components")):
        one = _object(row)
        within = _list(one.get("components") or [])
        if one.get("component"):
            within = [*within, one["component"]]
        for each in within:
            typed = _object(each)
            if typed.get("custom_id") == REASON:
                return _text(typed.get("value"), _LONGEST)
    raise NoInteraction


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in it, names too."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            yield from one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise NoInteraction
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise NoInteraction
    return value


def _text(value: Any, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise NoInteraction
    return value


def _number(value: Any) -> str:
    text = _text(value, 20)
    if not (text.isascii() and text.isdigit()):
        raise NoInteraction
    return text


def _known_number(value: Any) -> str:
    """Return an id that Discord may leave out."""
    return "" if value is None else _number(value)
