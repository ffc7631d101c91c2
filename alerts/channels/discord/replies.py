"""The desk's answers to interactions on Discord: their format, and how a deferred one
is sent.
"""

import json
from typing import Any
from urllib.parse import quote

from django.conf import settings

from alerts.cards.markup import cut
from alerts.channels.answers import (
    REASON,
    REASON_HELP,
    REASON_LABEL,
    REASON_TITLE,
    Body,
    NotAnswered,
    Reply,
    TryAgain,
)
from alerts.models import Interaction
from approvals.decisions.forms import MAX_REASON
from common.exchange import seconds_asked
from outgoing.guarded import Answer, DeliveryError, request

# In UTF-16 units: the longest message that Discord accepts.
MAX_CONTENT = 2000
# Discord's numbers: types of responses, a flag, and kinds of components.
_PONG = 1
_MESSAGE = 4
_DEFERRED = 5
_CHOICES = 8
_FORM = 9
_EPHEMERAL = 64
_LABEL = 18
_TEXT_INPUT = 4
_PARAGRAPH = 2

PONG: Body = {"type": _PONG}
# Until the answer replaces it, Discord shows the person, and nobody else, that the desk
# is thinking.
DEFERRED: Body = {"type": _DEFERRED, "data": {"flags": _EPHEMERAL}}
# In seconds: the longest wait after a 429 of Discord.
_MAX_WAIT = 300.0
# How often the answer is tried again although Discord does not know its token: for some
# seconds it may not know those that it just gave.
MAX_UNKNOWN = 5


def body_of(reply: Reply) -> Body:
    """Return an answer in Discord's format."""
    return reason_form(reply.form) if reply.form else private(reply.content)


def choices(names: list[str]) -> Body:
    """Return suggestions for the option that somebody is filling in."""
    return {
        "type": _CHOICES,
        "data": {"choices": [{"name": name, "value": name} for name in names]},
    }


def private(content: str) -> Body:
    """Return the answer with this text, which only the person who pressed can see."""
    data = {
        "content": cut(content, MAX_CONTENT),
        "flags": _EPHEMERAL,
        "allowed_mentions": {"parse": []},
    }
    return {"type": _MESSAGE, "data": data}


def reason_form(custom_id: str) -> Body:
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
    return {
        "type": _FORM,
        "data": {
            "custom_id": custom_id,
            "title": REASON_TITLE,
            "components": [label],
        },
    }


def call_discord(method: str, path: str, content: Any, **headers: str) -> Answer:
    """Call Discord's API, and return the answer, whatever its status. Raises
    DeliveryError.
    """
    url = f"{settings.DISCORD_API_URL.rstrip('/')}/{path}"
    headers["Content-Type"] = "application/json"
    headers["User-Agent"] = f"DiscordBot ({settings.PUBLIC_URL}, 1)"
    return request(method, url, body=json.dumps(content).encode(), headers=headers)


def edit_answer(interaction: Interaction, answer_body: Body) -> None:
    """Replace what Discord shows in place of the answer; doing it again changes nothing.
    Text from mail is escaped already, and nobody is mentioned.

    Raises NotAnswered and TryAgain. Neither contains the token.
    """
    if not interaction.token or not settings.DISCORD_APP_ID:
        raise NotAnswered(
            "The token for the answer has expired, or DISCORD_APP_ID is not set."
        )
    path = f"webhooks/{quote(settings.DISCORD_APP_ID, safe='')}/{quote(interaction.token, safe='')}/messages/@original"
    content = cut(answer_body["data"]["content"], MAX_CONTENT)
    body = {"content": content, "allowed_mentions": {"parse": []}}
    try:
        answer = call_discord("PATCH", path, body)
    except DeliveryError as error:
        raise (NotAnswered if error.refused else TryAgain)(
            "Discord could not be reached."
        ) from None
    if answer.status == 429:
        seconds = seconds_asked(answer.headers.get("Retry-After"))
        raise TryAgain(
            "Discord asked to wait.",
            seconds=None if seconds is None else min(seconds, _MAX_WAIT),
        )
    if not 200 <= answer.status < 300:
        is_early = answer.status == 404 and interaction.attempts < MAX_UNKNOWN
        is_final = 400 <= answer.status < 500 and not is_early
        raise (NotAnswered if is_final else TryAgain)(
            f"Discord answered {answer.status} to the answer."
        )
