"""Discord's webhook endpoints: execute, read, edit, delete. Speaks the protocol; shows nothing.

JSON bodies only: a multipart or form body, which Discord takes too, is answered as a body that is not JSON.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.demo_discord import APPROVALS, CHANNELS, GUILD_ID
from demo.discord.channel import Channel, Message
from demo.discord.components import LINK, ROW
from demo.discord.gate import Gate, Outcome
from demo.discord.messages import Refused, edited, new_content, read_payload, written
from demo.web import Answer, Request, json_answer

WEBHOOK_NAME = "Countersign"


@dataclass(frozen=True, slots=True)
class Call:
    """One request to one webhook."""

    request: Request
    webhook_id: str
    token: str
    message_id: str | None


@dataclass(slots=True)
class WebhookApi:
    """Answers calls from what the channels hold, within the limits."""

    channel: Channel
    gate: Gate

    def handle(self, call: Call) -> Answer:
        """Answer one call and write it to the journal."""
        return self.gate.answer(
            call.webhook_id,
            lambda: self._act(call),
            lambda answer, message: self.channel.journal_request(
                call.request, call.token, answer, message, webhook_id=call.webhook_id, message_id=call.message_id
            ),
        )

    def _act(self, call: Call) -> Outcome:
        if not self.channel.knows_webhook(call.webhook_id, call.token):
            raise Refused(404, 10015, "Unknown Webhook")
        if not self.channel.has_token(call.webhook_id, call.token):
            raise Refused(401, 50027, "Invalid Webhook Token")
        actions = _ON_WEBHOOK if call.message_id is None else _ON_MESSAGE
        action = actions.get(call.request.method)
        if action is None:
            raise Refused(405, 0, "405: Method Not Allowed")
        return action(self, call)

    def _execute(self, call: Call) -> Outcome:
        payload = read_payload(call.request)
        author, channel_id = _author(call, payload), _channel_of(call.webhook_id)
        content = new_content(self.channel.snowflake(), channel_id, author, payload, _components(call))
        message = written({**content, "webhook_id": call.webhook_id}, payload, call.token)
        self.channel.put(message)
        if call.request.query.get("wait", "").lower() in ("true", "1"):
            return json_answer(message.content), message
        return Answer(204), message

    def _edit(self, call: Call) -> Outcome:
        message = edited(self._message(call), read_payload(call.request), _components(call))
        self.channel.put(message)
        return json_answer(message.content), message

    def _delete(self, call: Call) -> Outcome:
        self.channel.remove(self._message(call).content["id"])
        return Answer(204), None

    def _read(self, call: Call) -> Outcome:
        return json_answer(self._message(call).content), None

    def _describe(self, call: Call) -> Outcome:
        return json_answer(_webhook(call)), None

    def _delete_webhook(self, call: Call) -> Outcome:
        self.channel.delete_webhook(call.webhook_id, call.token)
        return Answer(204), None

    def _message(self, call: Call) -> Message:
        message = self.channel.find(call.webhook_id, call.token, call.message_id or "")
        if message is None:
            raise Refused(404, 10008, "Unknown Message")
        return message


Action = Callable[[WebhookApi, Call], Outcome]
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


def _author(call: Call, payload: dict[str, Any]) -> dict[str, Any]:
    return {"id": call.webhook_id, "username": str(payload.get("username") or WEBHOOK_NAME)}


def _components(call: Call) -> Callable[[Any], list[Any]]:
    """Return a function that filters components. Without an application a webhook silently loses interactive ones.

    Links need no application and stay if the query has `with_components`.
    """
    asked = call.request.query.get("with_components", "").lower() in ("true", "1")

    def link_rows(rows: list[Any]) -> list[Any]:
        links = [[button for button in row["components"] if button["style"] == LINK] for row in rows]
        return [{"type": ROW, "components": buttons} for buttons in links if buttons]

    return link_rows if asked else lambda _: []


def _channel_of(webhook_id: str) -> str:
    """A webhook that is named like a channel posts there, all others where approvals are."""
    return next((channel.id for channel in CHANNELS if channel.id == webhook_id), APPROVALS.id)


def _webhook(call: Call) -> dict[str, Any]:
    fixed = {"type": 1, "name": WEBHOOK_NAME, "avatar": None, "application_id": None}
    return {
        **fixed,
        "id": call.webhook_id,
        "token": call.token,
        "channel_id": _channel_of(call.webhook_id),
        "guild_id": GUILD_ID,
        "url": f"https://discord.com/api/webhooks/{call.webhook_id}/{call.token}",
    }
