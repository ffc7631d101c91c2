"""The desk's answers to interactions on Discord: their format, and how a deferred one
is sent.
"""

import json
from typing import Any
from urllib.parse import quote

from django.conf import settings

from alerts.cards.markup import cut
from alerts.channels.answers import (
    LATE,
    REASON,
    REASON_HELP,
    REASON_LABEL,
    REASON_TITLE,
)
from alerts.channels.requests import Json, Refused, RetryLater, failure, send
from alerts.models import Interaction
from approvals.decisions.forms import MAX_REASON
from common.exchange import Answer

# In UTF-16 units: the longest message that Discord accepts.
MAX_CONTENT = 2000
# Discord's numbers: types of responses, a flag, and kinds of components.
_PONG = 1
_MESSAGE = 4
_DEFERRED = 5
_FORM = 9
_EPHEMERAL = 64
_LABEL = 18
_TEXT_INPUT = 4
_PARAGRAPH = 2

PONG: Json = {"type": _PONG}
# Until the answer replaces it, Discord shows the person, and nobody else, that the desk
# is thinking.
DEFERRED: Json = {"type": _DEFERRED, "data": {"flags": _EPHEMERAL}}
# How often the answer is tried again although Discord does not know its token: for some
# seconds it may not know those that it just gave.
MAX_UNKNOWN = 5


def private(content: str) -> Json:
    """Return the answer with this text, which only the person who pressed can see."""
    data = {
        "content": cut(content, MAX_CONTENT),
        "flags": _EPHEMERAL,
        "allowed_mentions": {"parse": []},
    }
    return {"type": _MESSAGE, "data": data}


def reason_form(custom_id: str) -> Json:
    """Return the form that asks why a message is rejected. Its id is the custom id of
    the button, which says which message and version it is about.
    """
    field = {
        "type": _TEXT_INPUT,
        "custom_id": REASON,
        "style": _PARAGRAPH,
        "min_length": 1,
        "max_length": MAX_REASON,
        "required": True,
    }
    label = {
        "type": _LABEL,
        "label": REASON_LABEL,
        "description": REASON_HELP,
        "component": field,
    }
    data = {"custom_id": custom_id, "title": REASON_TITLE, "components": [label]}
    return {"type": _FORM, "data": data}


def call_discord(method: str, path: str, content: Any, **headers: str) -> Answer:
    """Call Discord's API, and return the answer, whatever its status. Raises as `send`
    does.
    """
    url = f"{settings.DISCORD_API_URL.rstrip('/')}/{path}"
    headers["User-Agent"] = f"DiscordBot ({settings.PUBLIC_URL}, 1)"
    body = json.dumps(content).encode()
    return send(method, url, body, headers=headers)


def edit_answer(interaction: Interaction, body: Json) -> None:
    """Replace what Discord shows in place of the answer; doing it again changes nothing.
    Text from mail is escaped already, and nobody is mentioned. A form is too late now.

    Raises Refused and RetryLater. Neither contains the token.
    """
    if not interaction.token or not settings.DISCORD_APP_ID:
        raise Refused(
            "The token for the answer has expired, or DISCORD_APP_ID is not set."
        )
    path = f"webhooks/{quote(settings.DISCORD_APP_ID, safe='')}/{quote(interaction.token, safe='')}/messages/@original"
    content = body["data"].get("content", LATE)
    edited = {"content": content, "allowed_mentions": {"parse": []}}
    answer = call_discord("PATCH", path, edited)
    if answer.status == 404 and interaction.attempts < MAX_UNKNOWN:
        raise RetryLater("Discord does not know the token yet.")
    if not 200 <= answer.status < 300:
        raise failure("Discord", answer, refused=range(400, 500))
