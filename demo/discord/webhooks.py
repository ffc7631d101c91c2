"""Discord's webhook endpoints: execute, read, edit, delete. Speaks the protocol; shows nothing.

JSON bodies only: a multipart or form body, which Discord takes too, is answered as a body that is not JSON.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from demo.discord.channel import Channel, Message, hash_token
from demo.discord.limits import find_errors, is_empty
from demo.discord.mentions import count_pings
from demo.discord.rates import RateLimiter, refusal_headers
from demo.discord.script import Script
from demo.web import Answer, Request, json_answer

CHANNEL_ID = "1180000000000000427"
GUILD_ID = "1180000000000000001"
WEBHOOK_NAME = "Countersign"
LINK_STYLE = 5


class Refused(Exception):
    """Discord says no: status, its numeric code, its words, and the tree of form errors."""

    def __init__(self, status: int, code: int, message: str, errors: dict[str, Any] | None = None) -> None:
        """Keep what the answer will say."""
        super().__init__(message)
        body: dict[str, Any] = {"message": message, "code": code}
        self.answer = json_answer({**body, "errors": errors} if errors else body, status)


@dataclass(frozen=True, slots=True)
class Call:
    """One request to one webhook."""

    request: Request
    webhook_id: str
    token: str
    message_id: str | None


@dataclass(slots=True)
class WebhookApi:
    """Answers calls from what the channel holds, within the rate limit, unless a script says otherwise."""

    channel: Channel
    script: Script
    rates: RateLimiter = field(default_factory=RateLimiter)
    pause: Callable[[float], None] = time.sleep

    def handle(self, call: Call) -> Answer:
        """Answer one call and write it to the journal."""
        step = self.script.next_step()
        if step is not None and step.status is not None:
            self.pause(step.hang)
            answer, message = step.answer(), None
        else:
            answer, message = self._limited(call)
        self._journal(call, answer, message)
        if step is not None and step.status is None:
            # The request took effect; only its answer is late or lost.
            self.pause(step.hang)
            answer.drop = step.drop
        return answer

    def _limited(self, call: Call) -> tuple[Answer, Message | None]:
        allowance = self.rates.take(call.webhook_id)
        message: Message | None = None
        if allowance.granted:
            try:
                answer, message = self._obey(call)
            except Refused as refused:
                answer = refused.answer
        else:
            wait = allowance.reset_after
            answer = json_answer(
                {"message": "You are being rate limited.", "retry_after": wait, "global": False}, status=429
            )
            answer.headers |= refusal_headers(wait, is_global=False)
        answer.headers |= allowance.headers()
        return answer, message

    def _obey(self, call: Call) -> tuple[Answer, Message | None]:
        if not self.channel.knows_webhook(call.webhook_id, call.token):
            raise Refused(404, 10015, "Unknown Webhook")
        actions = _ON_WEBHOOK if call.message_id is None else _ON_MESSAGE
        action = actions.get(call.request.method)
        if action is None:
            raise Refused(405, 0, "405: Method Not Allowed")
        return action(self, call)

    def _execute(self, call: Call) -> tuple[Answer, Message | None]:
        payload = _read_payload(call.request)
        message = Message(_new_message(self.channel.snowflake(), call, payload), hash_token(call.token))
        _refuse_empty(message)
        message.pings = count_pings(message.content["content"], payload.get("allowed_mentions"))
        self.channel.put(message)
        if call.request.query.get("wait", "").lower() in ("true", "1"):
            return json_answer(message.content), message
        return Answer(204), message

    def _edit(self, call: Call) -> tuple[Answer, Message | None]:
        old = self._message(call)
        payload = _read_payload(call.request)
        message = Message({**old.content, **_shown(call, payload)}, old.token_hash, old.edits + 1, old.pings)
        message.content["edited_timestamp"] = _now()
        _refuse_empty(message)
        message.pings = max(old.pings, count_pings(message.content["content"], payload.get("allowed_mentions")))
        self.channel.put(message)
        return json_answer(message.content), message

    def _delete(self, call: Call) -> tuple[Answer, Message | None]:
        self.channel.remove(self._message(call).content["id"])
        return Answer(204), None

    def _read(self, call: Call) -> tuple[Answer, Message | None]:
        return json_answer(self._message(call).content), None

    def _describe(self, call: Call) -> tuple[Answer, Message | None]:
        return json_answer(_webhook(call)), None

    def _delete_webhook(self, call: Call) -> tuple[Answer, Message | None]:
        self.channel.delete_webhook(call.webhook_id, call.token)
        return Answer(204), None

    def _message(self, call: Call) -> Message:
        message = self.channel.find(call.webhook_id, call.token, call.message_id or "")
        if message is None:
            raise Refused(404, 10008, "Unknown Message")
        return message

    def _journal(self, call: Call, answer: Answer, message: Message | None) -> None:
        entry: dict[str, Any] = {
            "method": call.request.method,
            "webhook_id": call.webhook_id,
            "token_hash": hash_token(call.token),
            "status": answer.status,
        }
        if call.message_id is not None:
            entry["message_id"] = call.message_id
        if answer.status >= 400 and call.request.body:
            entry["refused_body"] = call.request.body[:20_000].decode("utf-8", "replace")
        self.channel.journal(entry, message)


Action = Callable[[WebhookApi, Call], tuple[Answer, Message | None]]
_ON_WEBHOOK: dict[str, Action] = {
    "POST": WebhookApi._execute,
    "GET": WebhookApi._describe,
    "DELETE": WebhookApi._delete_webhook,
}
_ON_MESSAGE: dict[str, Action] = {
    "GET": WebhookApi._read,
    "PATCH": WebhookApi._edit,
    "DELETE": WebhookApi._delete,
}


def _read_payload(request: Request) -> dict[str, Any]:
    try:
        payload = json.loads(request.body)
        # Half of a surrogate pair is JSON to Python but not text to anybody else.
        json.dumps(payload, ensure_ascii=False).encode()
    except ValueError as error:
        raise Refused(400, 50109, "The request body contains invalid JSON.") from error
    if not isinstance(payload, dict) or request.content_type != "application/json":
        raise Refused(400, 50109, "The request body contains invalid JSON.")
    errors = find_errors(payload)
    if errors:
        raise Refused(400, 50035, "Invalid Form Body", errors)
    return payload


def _refuse_empty(message: Message) -> None:
    content = message.content
    if is_empty(content["content"], content["embeds"], content["components"]):
        raise Refused(400, 50006, "Cannot send an empty message")


def _new_message(message_id: str, call: Call, payload: dict[str, Any]) -> dict[str, Any]:
    author = {"id": call.webhook_id, "username": str(payload.get("username") or WEBHOOK_NAME)}
    return {
        "id": message_id,
        "type": 0,
        "channel_id": CHANNEL_ID,
        "webhook_id": call.webhook_id,
        "author": {**author, "avatar": None, "discriminator": "0000", "bot": True},
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
        **_shown(call, payload),
    }


def _shown(call: Call, payload: dict[str, Any]) -> dict[str, Any]:
    """Return the visible parts that the payload names; those it does not name stay as they are on an edit."""
    shown: dict[str, Any] = {}
    if "content" in payload:
        shown["content"] = str(payload["content"] or "").strip()
    if "embeds" in payload:
        shown["embeds"] = [{"type": "rich", **embed} for embed in payload["embeds"] or []]
    if "components" in payload:
        shown["components"] = _components(call, payload["components"])
    return shown


def _components(call: Call, rows: object) -> list[Any]:
    # A webhook that no application owns loses its components silently, but for those that need no application,
    # and those only when the address says so.
    if call.request.query.get("with_components", "").lower() not in ("true", "1") or not isinstance(rows, list):
        return []
    kept = []
    for row in rows:
        buttons = row.get("components") if isinstance(row, dict) else None
        links = [b for b in buttons or [] if isinstance(b, dict) and b.get("style") == LINK_STYLE]
        if links:
            kept.append({"type": 1, "components": links})
    return kept


def _webhook(call: Call) -> dict[str, Any]:
    fixed = {"type": 1, "name": WEBHOOK_NAME, "avatar": None, "application_id": None}
    return {
        **fixed,
        "id": call.webhook_id,
        "token": call.token,
        "channel_id": CHANNEL_ID,
        "guild_id": GUILD_ID,
        "url": f"https://discord.com/api/webhooks/{call.webhook_id}/{call.token}",
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
