"""A channel as Discord would show it. Everything that comes from a card is escaped; no
inline style or script.
"""

from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any
from urllib.parse import quote

from common.demo import CHANNELS, MEMBERS, GuildChannel, Member
from demo.discord.application import Commands
from demo.discord.channel import Channel, Message, time_of
from demo.discord.forms import command_buttons, command_dialogs
from demo.discord.limits import LINK
from demo.discord.markdown import anchor, is_plain_http, render, time_element
from demo.discord.replies import Replies, Reply
from demo.web import fill

_NO_COLOUR = "#1e1f22"
# Discord loads older messages as one scrolls up; here the newest are enough, and quick
# to fetch each second.
MOST_SHOWN = 100


@dataclass(frozen=True)
class View:
    """Which channel is looked at, by whom."""

    channel: GuildChannel
    member: Member

    def address(
        self, *, channel: GuildChannel | None = None, member: Member | None = None
    ) -> str:
        """Return the address of the same view with another channel or member."""
        name = (channel or self.channel).name
        username = (member or self.member).username
        return f"/?channel={quote(name)}&as={quote(username)}"


@dataclass
class ChannelPages:
    """The stand-in's pages. Without an application of the stand-in's own there is
    nothing to press or to type.
    """

    channel: Channel
    commands: Commands
    replies: Replies
    dashboard_url: str
    is_playable: bool

    def page(self, view: View) -> str:
        """Return the whole page."""
        channels = []
        for channel in CHANNELS:
            current = ' aria-current="page"' if channel == view.channel else ""
            channels.append(
                f'<li><a href="{escape(view.address(channel=channel))}"{current}>'
                f'<svg class="i"><use href="#hash"/></svg>{escape(channel.name)}</a></li>'
            )
        return fill(
            "discord.html",
            name=escape(view.channel.name),
            topic=escape(view.channel.topic),
            start=escape(view.channel.start),
            channels="".join(channels),
            composer=self._composer(view) if self.is_playable else _NO_APPLICATION,
            live=escape(view.address().replace("/?", "/messages/?", 1)),
            messages=self.fragment(view),
            version=self.channel.version,
            dashboard_url=escape(self.dashboard_url),
        )

    def fragment(self, view: View) -> str:
        """Return the messages alone, oldest first, with a line between days; and what
        this member alone sees.
        """
        shown: list[tuple[int, datetime, str]] = []
        for message in self.channel.snapshot(view.channel.id)[-MOST_SHOWN:]:
            written = datetime.fromisoformat(message.content["timestamp"])
            shown.append(
                (int(message.content["id"]), written, _message(message, written))
            )
        for reply in self.replies.seen_by(view.member, view.channel):
            shown.append((int(reply.id), time_of(reply.id), _reply(reply)))
        out = []
        day = ""
        for _, written, html in sorted(shown):
            if f"{written:%d %B %Y}" != day:
                day = f"{written:%d %B %Y}"
                out.append(f'<li class="day"><span>{day}</span></li>')
            out.append(html)
        return "".join(out)

    def _composer(self, view: View) -> str:
        commands = self.commands.listed()
        members = []
        for member in MEMBERS:
            current = ' aria-current="true"' if member == view.member else ""
            known = "" if member.email else " <small>guest</small>"
            members.append(
                f'<a href="{escape(view.address(member=member))}"{current}>{escape(member.name)}{known}</a>'
            )
        buttons = command_buttons(commands) or _NO_COMMANDS
        return (
            f'<div class="composer" data-as="{escape(view.member.username)}"'
            f' data-channel="{escape(view.channel.name)}">'
            f'<div class="commands" role="group" aria-label="Commands">{buttons}</div>'
            f'<nav class="members" aria-label="Who you are here"><span>You are</span>{"".join(members)}</nav></div>'
            f"{command_dialogs(commands)}"
        )


_NO_APPLICATION = (
    '<p class="composer off">This desk has a Discord application of your own, so '
    "nothing can be pressed here.</p>"
)
_NO_COMMANDS = "<span>No commands are registered: ./run manage discord_register registers them.</span>"


def _reply(reply: Reply) -> str:
    asked = f'<p class="asked">{escape(reply.member.name)} {escape(reply.asked)}</p>'
    if reply.state == "failed":
        text = '<div class="text failed">The application did not respond.</div>'
    elif reply.state == "thinking":
        text = '<div class="text thinking">Countersign is thinking…</div>'
    else:
        text = f'<div class="text">{render(reply.content)}</div>'
    return (
        f'<li class="message private" id="reply-{escape(reply.id)}"><span class="avatar" aria-hidden="true">'
        f'<svg class="i"><use href="#seal"/></svg></span><div>{asked}<h3><span class="name">Countersign</span> '
        f'<span class="app">APP</span> {time_element(time_of(reply.id))}</h3>{text}'
        '<p class="only">Only you can see this • '
        f'<button type="button" data-dismiss="{escape(reply.id)}">Dismiss message</button></p></div></li>'
    )


def _message(message: Message, written: datetime) -> str:
    content = message.content
    edited = ""
    if content["edited_timestamp"]:
        edited = '<span class="edited">(edited)</span>'
    text = ""
    if content["content"] or edited:
        text = f'<div class="text">{render(content["content"])} {edited}</div>'
    buttons = "".join(
        _button(content["id"], button)
        for row in content["components"]
        for button in row["components"]
    )
    if buttons:
        buttons = f'<p class="buttons">{buttons}</p>'
    return (
        f'<li class="message" id="message-{escape(content["id"])}">'
        '<span class="avatar" aria-hidden="true"><svg class="i"><use href="#seal"/></svg></span><div>'
        f'<h3><span class="name">{escape(content["author"]["username"])}</span> <span class="app">APP</span> '
        f"{time_element(written)}</h3>{text}"
        f"{''.join(map(_embed, content['embeds']))}"
        f"{buttons}</div></li>"
    )


def _embed(embed: dict[str, Any]) -> str:
    colour = embed.get("color")
    fill_colour = f"#{colour:06x}" if isinstance(colour, int) and colour else _NO_COLOUR
    # The bar is a drawing because a colour from outside can only be an attribute there,
    # never a style.
    parts = [
        f'<svg class="bar" aria-hidden="true"><rect width="100%" height="100%" fill="{fill_colour}"/></svg>',
        '<div class="embed-body">',
    ]
    if author := embed.get("author"):
        name = _linked(escape(str(author["name"])), author.get("url"))
        parts.append(f'<p class="author">{name}</p>')
    if title := embed.get("title"):
        heading = _linked(render(str(title), links=False), embed.get("url"))
        parts.append(f"<h4>{heading}</h4>")
    if description := embed.get("description"):
        parts.append(f'<div class="description">{render(str(description))}</div>')
    rows: list[list[dict[str, Any]]] = []
    for field in embed.get("fields") or []:
        # Up to three inline fields share a row, as in Discord.
        is_beside = field.get("inline") and rows and rows[-1][-1].get("inline")
        if is_beside and len(rows[-1]) < 3:
            rows[-1].append(field)
        else:
            rows.append([field])
    fields = ""
    for row in rows:
        for field in row:
            span = 12 // len(row) if field.get("inline") else 12
            name = render(str(field["name"]), links=False)
            value = render(str(field["value"]))
            fields += f'<div class="span-{span}"><dt>{name}</dt><dd>{value}</dd></div>'
    if fields:
        parts.append(f'<dl class="fields">{fields}</dl>')
    ends = []
    if footer := embed.get("footer"):
        ends.append(escape(str(footer["text"])))
    if written := embed.get("timestamp"):
        ends.append(time_element(datetime.fromisoformat(str(written))))
    if ends:
        parts.append(f'<p class="footer">{" <span>•</span> ".join(ends)}</p>')
    return f'<article class="embed">{"".join(parts)}</div></article>'


def _linked(inner: str, address: object) -> str:
    if isinstance(address, str) and is_plain_http(address):
        return anchor(address, inner)
    return inner


def _button(message_id: str, button: dict[str, Any]) -> str:
    label = escape(str(button.get("label") or "Open"))
    if button["style"] == LINK:
        label += '<svg class="i"><use href="#away"/></svg>'
        return f'<span class="button">{_linked(label, button.get("url"))}</span>'
    attributes = f'data-press="{escape(button["custom_id"])}" data-message="{escape(message_id)}"'
    return f'<button type="button" class="button style-{int(button["style"])}" {attributes}>{label}</button>'
