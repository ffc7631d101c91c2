"""Discord's webhook endpoints: execute, read, edit, delete. Speaks the protocol; shows
nothing.

JSON bodies only: a multipart or form body, which Discord takes too, is answered as a
body that is not JSON.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.demo import GUILD_ID
from demo.discord.channel import Channel, channel_with_id
from demo.discord.gate import Gate
from demo.discord.limits import LINK, ROW
from demo.discord.messages import (
    Outcome,
    Refused,
    act_on,
    new_content,
    read_payload,
    written,
)
from demo.web import Answer, Request, json_answer

WEBHOOK_NAME = "Countersign"


@dataclass
class WebhookApi:
    """Answers calls from what the channels hold, within the limits."""

    channel: Channel
    gate: Gate

    def handle(
        self, request: Request, webhook_id: str, token: str, message_id: str | None
    ) -> Answer:
        """Answer one call and write it to the journal."""
        return self.gate.answer(
            webhook_id,
            lambda: self._act(request, webhook_id, token, message_id),
            lambda answer, message: self.channel.journal_request(
                request,
                token,
                answer,
                message,
                webhook_id=webhook_id,
                message_id=message_id,
            ),
        )

    def _act(
        self, request: Request, webhook_id: str, token: str, message_id: str | None
    ) -> Outcome:
        if not self.channel.knows_webhook(webhook_id, token):
            raise Refused(404, 10015, "Unknown Webhook")
        if not self.channel.has_token(webhook_id, token):
            raise Refused(401, 50027, "Invalid Webhook Token")
        if message_id is not None:
            found = self.channel.find(webhook_id, token, message_id)
            if found is None:
                raise Refused(404, 10008, "Unknown Message")
            return act_on(self.channel, found, request, _components(request))
        # A webhook that is named like a channel posts there, all others where approvals
        # are.
        channel_id = channel_with_id(webhook_id).id
        if request.method == "DELETE":
            self.channel.delete_webhook(webhook_id, token)
            return Answer(204), None
        if request.method == "GET":
            webhook = {
                "type": 1,
                "name": WEBHOOK_NAME,
                "avatar": None,
                "application_id": None,
                "id": webhook_id,
                "token": token,
                "channel_id": channel_id,
                "guild_id": GUILD_ID,
                "url": f"https://discord.com/api/webhooks/{webhook_id}/{token}",
            }
            return json_answer(webhook), None
        if request.method != "POST":
            raise Refused(405, 0, "405: Method Not Allowed")
        payload = read_payload(request)
        name = str(payload.get("username") or WEBHOOK_NAME)
        author = {"id": webhook_id, "username": name}
        content = new_content(
            self.channel.snowflake(), channel_id, author, payload, _components(request)
        )
        message = written({**content, "webhook_id": webhook_id}, payload, token)
        self.channel.put(message)
        if request.query.get("wait", "").lower() in ("true", "1"):
            return json_answer(message.content), message
        return Answer(204), message


def _components(request: Request) -> Callable[[Any], list[Any]]:
    """Return a function that filters components. Without an application a webhook
    silently loses interactive ones.

    Links need no application and stay if the query has `with_components`.
    """
    asked = request.query.get("with_components", "").lower() in ("true", "1")

    def link_rows(rows: list[Any]) -> list[Any]:
        links = [
            [button for button in row["components"] if button["style"] == LINK]
            for row in rows
        ]
        return [{"type": ROW, "components": buttons} for buttons in links if buttons]

    return link_rows if asked else lambda _: []
