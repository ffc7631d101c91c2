"""The HTML of a channel as Discord would show it, with the forms that an application
opens and the forms of its commands. Everything that comes from a card is escaped, and
there are no inline styles or scripts.
"""

from datetime import UTC, datetime
from html import escape
from typing import Any

from common.demo import CHANNELS, MEMBERS, GuildChannel, Member
from demo.discord.guild import DISCORD_EPOCH_MS, Guild, Message, Reply
from demo.discord.limits import LINK, MAX_INPUT
from demo.discord.markdown import anchor, render, time_element
from demo.web import fill

# The longest value of a command's option, in characters, if the option has no limit.
MAX_VALUE = 6000
_NO_COLOUR = "#1e1f22"
# How many messages a channel shows. Discord would load older ones on scrolling up; here
# the newest are enough, and quick to fetch every second.
MOST_SHOWN = 100
# A field that may have more characters than this gets several lines.
_LONG = 1000
_NO_COMMANDS = "<span>No commands are registered: ./run manage discord_register registers them.</span>"


def channel_page(
    guild: Guild, channel: GuildChannel, member: Member, dashboard_url: str
) -> str:
    """Return the whole page of a channel, as this member sees it."""
    channels = ""
    for one in CHANNELS:
        current = ' aria-current="page"' if one == channel else ""
        channels += (
            f'<li><a href="/{_query(one, member)}"{current}>'
            f'<svg class="i"><use href="#hash"/></svg>{escape(one.name)}</a></li>'
        )
    return fill(
        "discord.html",
        name=escape(channel.name),
        topic=escape(channel.topic),
        start=escape(channel.start),
        channels=channels,
        composer=_composer(guild, channel, member),
        live=f"/messages/{_query(channel, member)}",
        messages=message_list(guild, channel, member),
        version=guild.version,
        dashboard_url=escape(dashboard_url),
    )


def message_list(guild: Guild, channel: GuildChannel, member: Member) -> str:
    """Return the channel's messages and the replies to this member, oldest first, with
    a line between days.
    """
    items: list[tuple[int, datetime, str]] = []
    for message in guild.messages_in(channel.id)[-MOST_SHOWN:]:
        at = datetime.fromisoformat(message.content["timestamp"])
        items.append((int(message.content["id"]), at, _message(message, at)))
    for reply in guild.replies_to(member):
        if reply.channel == channel:
            number = int(reply.id)
            milliseconds = (number >> 22) + DISCORD_EPOCH_MS
            at = datetime.fromtimestamp(milliseconds / 1000, UTC)
            items.append((number, at, _reply(reply, at)))
    out = []
    day = ""
    for _, at, html in sorted(items):
        if f"{at:%d %B %Y}" != day:
            day = f"{at:%d %B %Y}"
            out.append(f'<li class="day"><span>{day}</span></li>')
        out.append(html)
    return "".join(out)


def form_dialog(form: dict[str, Any], message_id: str) -> str:
    """Return the dialog for a form with which an application answered the press of a
    button.
    """
    fields = ""
    for number, part in enumerate(form["components"]):
        field = part["component"]
        fields += _field(
            f"asked-{number}",
            field["custom_id"],
            part["label"],
            part.get("description", ""),
            most=field.get("max_length", MAX_INPUT),
            required=field.get("required", True),
            is_long=field["style"] == 2,
        )
    attributes = (
        f'data-form="{escape(form["custom_id"])}" data-message="{escape(message_id)}"'
    )
    note = "This form is sent to Countersign. Do not share passwords or other secrets."
    return _dialog("form-asked", form["title"], fields, attributes, note, "Submit")


def _query(channel: GuildChannel, member: Member) -> str:
    return escape(f"?channel={channel.name}&as={member.username}")


def _composer(guild: Guild, channel: GuildChannel, member: Member) -> str:
    members = ""
    for one in MEMBERS:
        current = ' aria-current="true"' if one == member else ""
        members += f'<a href="/{_query(channel, one)}"{current}>{escape(one.name)}</a>'
    buttons = dialogs = ""
    for command in guild.commands():
        name = command["name"]
        buttons += f'<button type="button" data-open="command-{escape(name)}">/{escape(name)}</button>'
        fields = ""
        for option in command.get("options") or []:
            most = option.get("max_length", MAX_VALUE)
            required = bool(option.get("required"))
            fields += _field(
                f"{name}-{option['name']}",
                option["name"],
                f"{option['name']}{'' if required else ' (optional)'}",
                option["description"],
                most=most,
                required=required,
                is_long=most > _LONG,
            )
        dialogs += _dialog(
            f"command-{name}",
            f"/{name}",
            fields,
            f'data-command="{escape(name)}"',
            command["description"],
            "Send",
        )
    return (
        f'<div class="composer" data-as="{escape(member.username)}"'
        f' data-channel="{escape(channel.name)}">'
        f'<div class="commands" role="group" aria-label="Commands">{buttons or _NO_COMMANDS}</div>'
        f'<nav class="members" aria-label="Who you are here"><span>You are</span>{members}</nav></div>'
        f"{dialogs}"
    )


def _field(
    identity: str,
    name: str,
    label: str,
    description: str,
    *,
    most: int,
    required: bool,
    is_long: bool,
) -> str:
    identity = escape(identity)
    attributes = f'id="{identity}" name="{escape(name)}" maxlength="{most}"'
    if required:
        attributes += " required"
    described = ""
    if description:
        described = f'<small id="{identity}-about">{escape(description)}</small>'
        attributes += f' aria-describedby="{identity}-about"'
    control = f'<input autocomplete="off" {attributes}>'
    if is_long:
        control = f'<textarea rows="4" {attributes}></textarea>'
    return f'<label for="{identity}">{escape(label)}</label>{described}{control}'


def _dialog(
    identity: str, title: str, fields: str, attributes: str, note: str, button: str
) -> str:
    return (
        f'<dialog id="{escape(identity)}" aria-labelledby="{escape(identity)}-title"><form {attributes}>'
        f'<h2 id="{escape(identity)}-title">{escape(title)}</h2><p class="about">{escape(note)}</p>{fields}'
        '<p class="wrong" role="alert" hidden></p>'
        f'<p class="ends"><button type="button" class="plain" data-close>Cancel</button>'
        f'<button type="submit" class="primary">{button}</button></p></form></dialog>'
    )


def _reply(reply: Reply, at: datetime) -> str:
    asked = f'<p class="asked">{escape(reply.member.name)} {escape(reply.asked)}</p>'
    text = f'<div class="text">{render(reply.content)}</div>'
    if reply.state == "failed":
        text = '<div class="text failed">The application did not respond.</div>'
    elif reply.state == "thinking":
        text = '<div class="text thinking">Countersign is thinking…</div>'
    return _item(
        f'class="message private" id="reply-{reply.id}"',
        asked,
        "Countersign",
        at,
        f'{text}<p class="only">Only you can see this</p>',
    )


def _message(message: Message, at: datetime) -> str:
    content = message.content
    text = render(content["content"])
    if content["edited_timestamp"]:
        text += ' <span class="edited">(edited)</span>'
    if text:
        text = f'<div class="text">{text}</div>'
    buttons = "".join(
        _button(content["id"], button)
        for row in content["components"]
        for button in row["components"]
    )
    if buttons:
        buttons = f'<p class="buttons">{buttons}</p>'
    return _item(
        f'class="message" id="message-{content["id"]}"',
        "",
        content["author"]["username"],
        at,
        f"{text}{''.join(map(_embed, content['embeds']))}{buttons}",
    )


def _item(attributes: str, above: str, author: str, at: datetime, below: str) -> str:
    return (
        f'<li {attributes}><span class="avatar" aria-hidden="true"><svg class="i"><use href="#seal"/></svg></span>'
        f'<div>{above}<h3><span class="name">{escape(author)}</span> <span class="app">APP</span> {time_element(at)}'
        f"</h3>{below}</div></li>"
    )


def _embed(embed: dict[str, Any]) -> str:
    colour = f"#{embed['color']:06x}" if embed.get("color") else _NO_COLOUR
    # The bar is an SVG, in which the card's colour can be an attribute. The page's
    # policy allows no inline styles.
    html = (
        f'<article class="embed"><svg class="bar" aria-hidden="true"><rect width="100%" height="100%" fill="{colour}"/>'
        '</svg><div class="embed-body">'
    )
    if title := embed.get("title"):
        heading = anchor(embed.get("url"), render(title, links=False))
        html += f"<h4>{heading}</h4>"
    if description := embed.get("description"):
        html += f'<div class="description">{render(description)}</div>'
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
            name = render(field["name"], links=False)
            value = render(field["value"])
            fields += f'<div class="span-{span}"><dt>{name}</dt><dd>{value}</dd></div>'
    if fields:
        html += f'<dl class="fields">{fields}</dl>'
    if footer := embed.get("footer"):
        html += f'<p class="footer">{escape(footer["text"])}</p>'
    return f"{html}</div></article>"


def _button(message_id: str, button: dict[str, Any]) -> str:
    label = escape(button["label"])
    if button["style"] == LINK:
        label += '<svg class="i"><use href="#away"/></svg>'
        return f'<span class="button">{anchor(button.get("url"), label)}</span>'
    attributes = f'data-press="{escape(button["custom_id"])}" data-message="{escape(message_id)}"'
    return f'<button type="button" class="button style-{button["style"]}" {attributes}>{label}</button>'
