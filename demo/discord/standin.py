"""The whole stand-in: one application, its bot and commands, webhooks, the channels,
and the page around them.
"""

import re
from pathlib import Path

from common.demo import APPLICATION_FILE, COMMANDS_FILE
from demo.discord.application import Commands, load_or_make
from demo.discord.bot import BotApi
from demo.discord.channel import Channel
from demo.discord.gate import Gate, Script
from demo.discord.interactions import Interactions, Play
from demo.discord.page import ChannelPages
from demo.discord.replies import Replies
from demo.discord.webhooks import WebhookApi
from demo.web import Answer, Request, json_answer

_WEBHOOK = re.compile(
    r"/api(?:/v\d{1,2})?/webhooks/(\d{1,20})/([\w-]{1,200})(?:/messages/(\d{1,20}))?/?"
)


class Standin:
    """Holds the parts together; the demo's site asks it."""

    def __init__(self, data_dir: Path, desk_url: str, app_id: str) -> None:
        """Read the data of an earlier run. `app_id` is the desk's application, which
        may not be the stand-in's.
        """
        application = load_or_make(data_dir / APPLICATION_FILE)
        self.channel = Channel(data_dir / "discord.jsonl")
        self.channel.open()
        self.script = Script()
        commands = Commands(data_dir / COMMANDS_FILE)
        gate = Gate(self.script)
        self._webhooks = WebhookApi(self.channel, gate)
        self._bot = BotApi(application, self.channel, gate, commands)
        self._replies = Replies(application, self.channel)
        endpoint = f"{desk_url}/discord/interactions/"
        self.play = Play(
            Interactions(application, self.channel, commands, self._replies, endpoint)
        )
        self.pages = ChannelPages(
            self.channel,
            commands,
            self._replies,
            desk_url,
            is_playable=app_id in ("", application.app_id),
        )

    def api(self, request: Request) -> Answer:
        """Answer what came to Discord's API."""
        if found := _WEBHOOK.fullmatch(request.path):
            return self._webhooks.handle(request, *found.groups())
        answer = self._replies.handle(request) or self._bot.handle(request)
        return answer or json_answer({"message": "404: Not Found", "code": 0}, 404)
