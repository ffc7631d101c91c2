"""The URLs of the demo's web server. One port serves the stand-in for Discord, the
stand-ins for programs, and the inbox. The templates in `assets/` show a channel as
Discord would, and escape everything that comes from a card.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from common.demo import CHANNELS, MEMBERS, GuildChannel, Member
from common.unique_keys import Json
from demo.discord.api import DiscordApi, Refused
from demo.discord.guild import Guild, Reply
from demo.discord.interactions import Interactions, channel_named, member_of
from demo.inbox import InboxPages
from demo.programs import Programs
from demo.web import ASSETS, Guard, fill, fresh, html_answer

# How many messages a channel shows. Discord would load older ones on scrolling up; here
# the newest are enough, and quick to fetch every second.
MOST_SHOWN = 100


def make_site(
    data_dir: Path, outbox: Path, desk_url: str, allowed_hosts: list[str]
) -> Starlette:
    """Return the application of the demo's port, with the data that an earlier run has
    stored.
    """
    guild = Guild(data_dir)
    api = DiscordApi(guild).routes()
    interactions = Interactions(guild, f"{desk_url}/discord/interactions/")
    pages = ChannelPages(guild, desk_url)
    return Starlette(
        routes=[
            Mount("/api/v10", routes=api),
            Mount("/api", routes=api),
            Route("/play/{act}", interactions.play, methods=["POST"]),
            Route("/", pages.index),
            Route("/messages/", pages.messages),
            *InboxPages(outbox, desk_url).routes(),
            *Programs(data_dir).routes(),
            Mount("/assets", StaticFiles(directory=ASSETS)),
        ],
        middleware=[
            Middleware(Guard),
            # Another site could let its own host name point to this server (DNS
            # rebinding). Its pages must not read the mail that is shown here.
            Middleware(TrustedHostMiddleware, allowed_hosts=allowed_hosts),
        ],
        exception_handlers={Refused: Refused.answer, 404: _missing},
    )


async def _missing(request: Request, error: Exception) -> Response:
    return html_answer(fill("missing.html"), 404)


@dataclass
class ChannelPages:
    """The page of a channel, and its messages alone for an open page."""

    guild: Guild
    desk_url: str

    async def index(self, request: Request) -> Response:
        """Show a channel as one of the members."""
        guild = self.guild
        channel, member = _shown(request)
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

    async def messages(self, request: Request) -> Response:
        """Return the messages of a channel, if they have changed."""
        items = _items(self.guild, *_shown(request))
        return fresh(
            request, self.guild.version, lambda: fill("messages.html", items=items)
        )


def _shown(request: Request) -> tuple[GuildChannel, Member]:
    query = request.query_params
    return channel_named(query.get("channel", "")), member_of(query.get("as", ""))


# A time, and either the content of a message or a reply.
Item = tuple[datetime, Json, Reply | None]


def _items(guild: Guild, channel: GuildChannel, member: Member) -> list[Item]:
    """Return what a channel shows, in the order of the ids."""
    items: dict[int, Item] = {}
    for message in guild.messages_in(channel.id)[-MOST_SHOWN:]:
        at = datetime.fromisoformat(message["timestamp"])
        items[int(message["id"])] = (at, message, None)
    for reply in guild.replies_to(member):
        if reply.channel == channel:
            items[int(reply.id)] = (reply.at, {}, reply)
    return [item for _, item in sorted(items.items())]
