"""The URLs of the demo's web server. One port serves the stand-in for Discord, the
stand-ins for programs, and the inbox.
"""

import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from demo.discord.api import DiscordApi
from demo.discord.guild import Guild
from demo.discord.interactions import PATH, channel_named, member_of, play
from demo.discord.page import channel_page, message_list
from demo.inbox import InboxPages
from demo.programs import Programs
from demo.web import Answer, Request, asset, fill, html_answer, json_answer

_MAIL = re.compile(r"/inbox/([^/]{1,200})/")
_ASSET = re.compile(r"/assets/([\w-]+)\.(css|js|svg)")


class DemoSite:
    """Answers every request of the demo's port."""

    def __init__(self, data_dir: Path, outbox: Path, desk_url: str) -> None:
        """Read the data that an earlier run has stored."""
        self.desk_url = desk_url
        self.guild = Guild(data_dir)
        self.api = DiscordApi(self.guild)
        self.inbox = InboxPages(outbox, desk_url)
        self.programs = Programs(data_dir)

    def __call__(self, request: Request) -> Answer:
        """Answer one request."""
        if request.path.startswith("/api/"):
            return self.api.handle(request)
        if request.path.startswith(PATH):
            return play(self.guild, request, f"{self.desk_url}/discord/interactions/")
        if answer := self.programs.handle(request):
            return answer
        if request.method not in ("GET", "HEAD"):
            return json_answer({"message": "405: Method Not Allowed", "code": 0}, 405)
        return self._page(request) or html_answer(fill("missing.html"), 404)

    def _page(self, request: Request) -> Answer | None:
        guild = self.guild
        inbox = self.inbox
        channel = channel_named(request.query.get("channel", ""))
        member = member_of(request.query.get("as", ""))
        match request.path:
            case "/":
                return html_answer(channel_page(guild, channel, member, self.desk_url))
            case "/messages/":
                return _fresh(
                    request, guild.version, lambda: message_list(guild, channel, member)
                )
            case "/messages.json":
                cards = [
                    {**message.content, "edits": message.edits, "pings": message.pings}
                    for message in guild.messages_in(channel.id)
                ]
                return json_answer({"messages": cards})
            case "/inbox":
                return Answer(308, headers={"Location": "/inbox/"})
            case "/inbox/":
                return html_answer(inbox.index())
            case "/inbox/rows/":
                chosen = request.query.get("chosen", "")
                answer = _fresh(request, inbox.version, lambda: inbox.rows(chosen))
                answer.headers["X-Count"] = str(len(inbox.keys()))
                return answer
            case "/programs.json":
                events = [asdict(event) for event in self.programs.newest()]
                return json_answer({"events": events})
            case "/healthz":
                return json_answer({"status": "ok"})
        if match := _ASSET.fullmatch(request.path):
            return asset(*match.groups())
        if match := _MAIL.fullmatch(request.path):
            detail = inbox.detail(match[1])
            return html_answer(detail) if detail else None
        return None


def _fresh(request: Request, version: str, render: Callable[[], str]) -> Answer:
    """Return the fragment; 204 if the page that asks shows this version already."""
    if request.query.get("version") == version:
        return Answer(204)
    answer = html_answer(render())
    answer.headers["X-Version"] = version
    return answer
