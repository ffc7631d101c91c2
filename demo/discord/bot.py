"""Discord's bot API, as far as the desk uses it: messages of a channel, and the application's commands.

Speaks the protocol of version 10; shows nothing.
"""

import re
from dataclasses import dataclass
from typing import Any

from common.demo_discord import CHANNELS, GUILD_ID
from demo.discord.application import Application
from demo.discord.channel import Channel, Message
from demo.discord.commands import Commands
from demo.discord.gate import Gate, Outcome
from demo.discord.messages import Refused, edited, new_content, read_json, read_payload, written
from demo.web import Answer, Request, json_answer

BOT_NAME = "Countersign"
_MESSAGES = re.compile(r"/api(?:/v\d{1,2})?/channels/(\d{1,20})/messages(?:/(\d{1,20}))?/?")
_COMMANDS = re.compile(r"/api(?:/v\d{1,2})?/applications/(\d{1,20})(?:/guilds/(\d{1,20}))?/commands/?")
_MOST_READ = 100


@dataclass(slots=True)
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
                return self._commands(request, found[1], found[2])
            except Refused as refused:
                return refused.answer
        return None

    def _check(self, request: Request) -> None:
        if request.authorization != f"Bot {self.application.bot_token}":
            raise Refused(401, 0, "401: Unauthorized")

    def _in_channel(self, request: Request, channel_id: str, message_id: str | None) -> Outcome:
        self._check(request)
        if channel_id not in {channel.id for channel in CHANNELS}:
            raise Refused(404, 10003, "Unknown Channel")
        if message_id is None:
            return self._on_channel(request, channel_id)
        message = self.channel.get(message_id)
        if message is None or message.content["channel_id"] != channel_id:
            raise Refused(404, 10008, "Unknown Message")
        if request.method == "GET":
            return json_answer(message.content), None
        if message.content["author"]["id"] != self.application.app_id:
            raise Refused(403, 50005, "Cannot edit a message authored by another user")
        if request.method == "PATCH":
            return self._edit(request, message)
        if request.method == "DELETE":
            self.channel.remove(message_id)
            return Answer(204), None
        raise Refused(405, 0, "405: Method Not Allowed")

    def _on_channel(self, request: Request, channel_id: str) -> Outcome:
        if request.method == "GET":
            return json_answer(self._newest(request, channel_id)), None
        if request.method != "POST":
            raise Refused(405, 0, "405: Method Not Allowed")
        payload = read_payload(request)
        author = {"id": self.application.app_id, "username": BOT_NAME}
        content = new_content(self.channel.snowflake(), channel_id, author, payload)
        message = written(content, payload, self.application.bot_token)
        self.channel.put(message)
        return json_answer(content), message

    def _edit(self, request: Request, old: Message) -> Outcome:
        message = edited(old, read_payload(request))
        self.channel.put(message)
        return json_answer(message.content), message

    def _newest(self, request: Request, channel_id: str) -> list[dict[str, Any]]:
        asked = request.query.get("limit", "50")
        if not asked.isascii() or not asked.isdigit() or not 1 <= int(asked) <= _MOST_READ:
            raise Refused(400, 50035, "Invalid Form Body")
        return [message.content for message in reversed(self.channel.snapshot(channel_id)[-int(asked) :])]

    def _commands(self, request: Request, app_id: str, guild_id: str | None) -> Answer:
        self._check(request)
        if app_id != self.application.app_id:
            raise Refused(404, 10002, "Unknown Application")
        if guild_id not in (None, GUILD_ID):
            raise Refused(403, 50001, "Missing Access")
        if request.method == "GET":
            return json_answer(self.commands.listed())
        if request.method != "PUT":
            raise Refused(405, 0, "405: Method Not Allowed")
        return json_answer(self.commands.replace(read_json(request)))
