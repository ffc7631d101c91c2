"""The URLs of the demo's web server. One port serves the stand-in for Discord, the
stand-ins for programs, and the inbox. The templates in `assets/` show a channel as
Discord would, and escape everything that comes from a card.
"""

import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.demo import CHANNELS, MEMBERS, GuildChannel, Member
from demo.discord.api import DiscordApi
from demo.discord.guild import DISCORD_EPOCH_MS, Guild, Reply
from demo.discord.interactions import PATH, channel_named, member_of, play
from demo.inbox import InboxPages
from demo.programs import Programs
from demo.web import Answer, Request, asset, fill, html_answer, json_answer

_MAIL = re.compile(r"/inbox/([^/]{1,200})/")
_ASSET = re.compile(r"/assets/([\w-]+)\.(css|js|svg)")
# How many messages a channel shows. Discord would load older ones on scrolling up; here
# the newest are enough, and quick to fetch every second.
MOST_SHOWN = 100


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
                page = fill(
                    "discord.html",
                    channels=CHANNELS,
                    channel=channel,
                    members=MEMBERS,
                    member=member,
                    commands=guild.commands(),
                    items=_items(guild, channel, member),
                    version=guild.version,
                    dashboard_url=self.desk_url,
                )
                return html_answer(page)
            case "/messages/":
                return _fresh(
                    request,
                    guild.version,
                    lambda: fill("messages.html", items=_items(guild, channel, member)),
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


# A time, and either the content of a message or a reply.
Item = tuple[datetime, dict[str, Any], Reply | None]


def _items(guild: Guild, channel: GuildChannel, member: Member) -> list[Item]:
    """Return what a channel shows, in the order of the ids."""
    items: dict[int, Item] = {}
    for message in guild.messages_in(channel.id)[-MOST_SHOWN:]:
        at = datetime.fromisoformat(message.content["timestamp"])
        items[int(message.content["id"])] = (at, message.content, None)
    for reply in guild.replies_to(member):
        if reply.channel == channel:
            number = int(reply.id)
            milliseconds = (number >> 22) + DISCORD_EPOCH_MS
            at = datetime.fromtimestamp(milliseconds / 1000, UTC)
            items[number] = (at, {}, reply)
    return [item for _, item in sorted(items.items())]


def _fresh(request: Request, version: str, render: Callable[[], str]) -> Answer:
    """Return the fragment; 204 if the page that asks shows this version already."""
    if request.query.get("version") == version:
        return Answer(204)
    answer = html_answer(render())
    answer.headers["X-Version"] = version
    return answer
