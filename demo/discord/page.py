"""The HTML of a channel as Discord would show it, with the forms of its commands. The
templates in `assets/` escape everything that comes from a card.
"""

from datetime import UTC, datetime
from typing import Any

from common.demo import CHANNELS, MEMBERS, GuildChannel, Member
from demo.discord.guild import DISCORD_EPOCH_MS, Guild, Reply
from demo.web import fill

# How many messages a channel shows. Discord would load older ones on scrolling up; here
# the newest are enough, and quick to fetch every second.
MOST_SHOWN = 100


def channel_page(
    guild: Guild, channel: GuildChannel, member: Member, dashboard_url: str
) -> str:
    """Return the whole page of a channel, as this member sees it."""
    return fill(
        "discord.html",
        channels=CHANNELS,
        channel=channel,
        members=MEMBERS,
        member=member,
        commands=guild.commands(),
        items=_items(guild, channel, member),
        version=guild.version,
        dashboard_url=dashboard_url,
    )


def message_list(guild: Guild, channel: GuildChannel, member: Member) -> str:
    """Return the channel's messages and the replies to this member, oldest first, with
    a line between days.
    """
    return fill("messages.html", items=_items(guild, channel, member))


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
