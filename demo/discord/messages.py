"""Messages as Discord's API takes and gives them: what a body must hold, and what is
shown of it.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from demo.discord.channel import Channel, Message, hash_token
from demo.discord.limits import find_errors, is_empty
from demo.web import Answer, Request, json_answer

Components = Callable[[Any], list[Any]]
# The answer, and the message as it is afterwards.
Outcome = tuple[Answer, Message | None]
_CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
_EVERYONE = re.compile(r"@(everyone|here)\b")
_PERSON = re.compile(r"<@!?(\d+)>")
_ROLE = re.compile(r"<@&(\d+)>")


class Refused(Exception):
    """Discord says no: status, its numeric code, its words, and the tree of form
    errors.
    """

    def __init__(
        self, status: int, code: int, message: str, errors: dict[str, Any] | None = None
    ) -> None:
        """Keep what the answer will say."""
        super().__init__(message)
        body = {"message": message, "code": code}
        self.answer = json_answer(
            {**body, "errors": errors} if errors else body, status
        )


def read_json(request: Request) -> Any:
    """Return the body's JSON. Raises Refused for what Discord does not read as JSON."""
    try:
        content = json.loads(request.body)
        # Half of a surrogate pair is JSON to Python but not text to anybody else.
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Refused(400, 50109, "The request body contains invalid JSON.") from error
    if request.content_type != "application/json":
        raise Refused(400, 50109, "The request body contains invalid JSON.")
    return content


def read_payload(request: Request) -> dict[str, Any]:
    """Return a message's body. Raises Refused with the tree of errors where Discord's
    limits do not hold.
    """
    payload = read_json(request)
    if not isinstance(payload, dict):
        raise Refused(400, 50109, "The request body contains invalid JSON.")
    if errors := find_errors(payload):
        raise Refused(400, 50035, "Invalid Form Body", errors)
    return payload


def written(content: dict[str, Any], payload: dict[str, Any], token: str) -> Message:
    """Return a new message that whoever has this token wrote. Raises Refused where
    nothing of it would be seen.
    """
    _refuse_empty(content)
    return Message(content, hash_token(token), pings=_pings(content, payload))


def edited(
    old: Message, payload: dict[str, Any], components: Components = list
) -> Message:
    """Return the message as an edit leaves it. Raises Refused where nothing of it would
    be seen any more.
    """
    content = {**old.content, **_shown(payload, components), "edited_timestamp": _now()}
    _refuse_empty(content)
    return Message(
        content, old.token_hash, old.edits + 1, max(old.pings, _pings(content, payload))
    )


def act_on(
    channel: Channel, message: Message, request: Request, components: Components = list
) -> Outcome:
    """Read, edit or delete a message for its author. Raises Refused."""
    match request.method:
        case "GET":
            return json_answer(message.content), None
        case "PATCH":
            message = edited(message, read_payload(request), components)
            channel.put(message)
            return json_answer(message.content), message
        case "DELETE":
            channel.remove(message.content["id"])
            return Answer(204), None
    raise Refused(405, 0, "405: Method Not Allowed")


def _pings(content: dict[str, Any], payload: dict[str, Any]) -> int:
    return count_pings(content["content"], payload.get("allowed_mentions"))


def count_pings(content: str, allowed: Mapping[str, Any] | None) -> int:
    """Return how many people, roles and "everyone" the content pings under its
    `allowed_mentions`.

    Discord never pings from an embed.
    """
    text = _CODE.sub("", content)
    return (
        len(_allowed("everyone", set(_EVERYONE.findall(text)), allowed))
        + len(_allowed("users", set(_PERSON.findall(text)), allowed))
        + len(_allowed("roles", set(_ROLE.findall(text)), allowed))
    )


def _allowed(kind: str, found: set[str], allowed: Mapping[str, Any] | None) -> set[str]:
    if allowed is None or kind in (allowed.get("parse") or []):
        return found
    if kind == "everyone":
        return set()
    return found & {str(name) for name in allowed.get(kind) or []}


def _refuse_empty(content: dict[str, Any]) -> None:
    if is_empty(content["content"], content["embeds"], content["components"]):
        raise Refused(400, 50006, "Cannot send an empty message")


def new_content(
    message_id: str,
    channel_id: str,
    author: dict[str, Any],
    payload: dict[str, Any],
    components: Components = list,
) -> dict[str, Any]:
    """Return a message object; `components` says which of the components the author may
    show.
    """
    return {
        "id": message_id,
        "type": 0,
        "channel_id": channel_id,
        "author": {"avatar": None, "discriminator": "0000", "bot": True, **author},
        "timestamp": _now(),
        "edited_timestamp": None,
        "content": "",
        "embeds": [],
        "components": [],
        "attachments": [],
        "mentions": [],
        "mention_roles": [],
        "mention_everyone": False,
        "pinned": False,
        "tts": bool(payload.get("tts")),
        "flags": payload.get("flags") or 0,
        **_shown(payload, components),
    }


def _shown(payload: dict[str, Any], components: Components = list) -> dict[str, Any]:
    """Return the visible parts that the payload names; those it does not name stay as
    they are on an edit.
    """
    parts: dict[str, Any] = {}
    if "content" in payload:
        parts["content"] = str(payload["content"] or "").strip()
    if "embeds" in payload:
        embeds = payload["embeds"] or []
        parts["embeds"] = [{"type": "rich", **embed} for embed in embeds]
    if "components" in payload:
        parts["components"] = components(payload["components"] or [])
    return parts


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
