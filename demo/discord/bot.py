"""Discord's bot API, as far as the desk uses it: messages of a channel, and the
application's commands.

Speaks the protocol of version 10; shows nothing.
"""

import re
from dataclasses import dataclass

from common.demo import CHANNELS, GUILD_ID
from demo.discord.application import Application, Commands
from demo.discord.channel import Channel
from demo.discord.gate import Gate
from demo.discord.messages import (
    Outcome,
    Refused,
    act_on,
    new_content,
    read_json,
    read_payload,
    written,
)
from demo.web import Answer, Request, json_answer

BOT_NAME = "Countersign"
_MESSAGES = re.compile(
    r"/api(?:/v\d{1,2})?/channels/(\d{1,20})/messages(?:/(\d{1,20}))?/?"
)
_COMMANDS = re.compile(
    r"/api(?:/v\d{1,2})?/applications/(\d{1,20})(?:/guilds/(\d{1,20}))?/commands/?"
)
_MOST_READ = 100


@dataclass
class BotApi:
    """Answers the bot of one application."""

    application: Application
    channel: Channel
    gate: Gate
    commands: Commands

    def handle(self, request: Request) -> Answer | None:
        """Answer one request of a bot; None where the address is no bot's."""
        if found := _MESSAGES.fullmatch(request.path):
            channel_id, message_id = found.groups()
            return self.gate.answer(
                channel_id,
                lambda: self._in_channel(request, channel_id, message_id),
                lambda answer, message: self.channel.journal_request(
                    request,
                    request.authorization.removeprefix("Bot "),
                    answer,
                    message,
                    channel_id=channel_id,
                    message_id=message_id,
                ),
            )
        if found := _COMMANDS.fullmatch(request.path):
            try:
                self._refuse_stranger(request)
                if found[1] != self.application.app_id:
                    raise Refused(404, 10002, "Unknown Application")
                if found[2] not in (None, GUILD_ID):
                    raise Refused(403, 50001, "Missing Access")
                if request.method == "GET":
                    return json_answer(self.commands.listed())
                if request.method != "PUT":
                    raise Refused(405, 0, "405: Method Not Allowed")
                return json_answer(self.commands.replace(read_json(request)))
            except Refused as refused:
                return refused.answer
        return None

    def _in_channel(
        self, request: Request, channel_id: str, message_id: str | None
    ) -> Outcome:
        self._refuse_stranger(request)
        if channel_id not in {channel.id for channel in CHANNELS}:
            raise Refused(404, 10003, "Unknown Channel")
        app_id = self.application.app_id
        match request.method, message_id:
            case "GET", None:
                asked = request.query.get("limit", "50")
                is_number = asked.isascii() and asked.isdigit()
                if not is_number or not 1 <= int(asked) <= _MOST_READ:
                    raise Refused(400, 50035, "Invalid Form Body")
                newest = self.channel.snapshot(channel_id)[-int(asked) :]
                return json_answer([one.content for one in reversed(newest)]), None
            case "POST", None:
                payload = read_payload(request)
                author = {"id": app_id, "username": BOT_NAME}
                content = new_content(
                    self.channel.snowflake(), channel_id, author, payload
                )
                message = written(content, payload, self.application.bot_token)
                self.channel.put(message)
                return json_answer(message.content), message
            case _, None:
                raise Refused(405, 0, "405: Method Not Allowed")
        found = self.channel.get(message_id or "")
        if found is None or found.content["channel_id"] != channel_id:
            raise Refused(404, 10008, "Unknown Message")
        if request.method != "GET" and found.content["author"]["id"] != app_id:
            raise Refused(403, 50005, "Cannot edit a message authored by another user")
        return act_on(self.channel, found, request)

    def _refuse_stranger(self, request: Request) -> None:
        if request.authorization != f"Bot {self.application.bot_token}":
            raise Refused(401, 0, "401: Unauthorized")
