"""The channel as Discord would show it. Everything that comes from a card is escaped; no inline style or script."""

from datetime import datetime
from html import escape
from typing import Any

from demo.discord.channel import Channel, Message
from demo.discord.markdown import anchor, is_plain_http, render, time_element
from demo.shell import fill

_NO_COLOUR = "#1e1f22"
# Discord loads older messages as one scrolls up; here the newest are enough, and quick to fetch each second.
MOST_SHOWN = 100


def channel_page(channel: Channel, *, dashboard_url: str) -> str:
    """Return the whole page."""
    return fill(
        "discord.html", messages=channel_fragment(channel), version=channel.version, dashboard_url=escape(dashboard_url)
    )


def channel_fragment(channel: Channel) -> str:
    """Return the messages alone, oldest first, with a line between days."""
    out, day = [], ""
    for message in channel.snapshot()[-MOST_SHOWN:]:
        written = datetime.fromisoformat(message.content["timestamp"])
        if f"{written:%d %B %Y}" != day:
            day = f"{written:%d %B %Y}"
            out.append(f'<li class="day"><span>{day}</span></li>')
        out.append(_message(message, written))
    return "".join(out)


def _message(message: Message, written: datetime) -> str:
    content = message.content
    edited = '<span class="edited">(edited)</span>' if content["edited_timestamp"] else ""
    text = f'<div class="text">{render(content["content"])} {edited}</div>' if content["content"] or edited else ""
    return (
        f'<li class="message" id="message-{escape(content["id"])}">'
        '<span class="avatar" aria-hidden="true"><svg class="i"><use href="#seal"/></svg></span><div>'
        f'<h3><span class="name">{escape(content["author"]["username"])}</span> <span class="app">APP</span> '
        f"{time_element(written)}</h3>{text}"
        f"{''.join(_embed(embed) for embed in content['embeds'])}{_buttons(content['components'])}</div></li>"
    )


def _embed(embed: dict[str, Any]) -> str:
    colour = embed.get("color")
    fill_colour = f"#{colour:06x}" if isinstance(colour, int) and colour else _NO_COLOUR
    parts = [_author(embed), _title(embed), _description(embed), _fields(embed.get("fields") or []), _footer(embed)]
    # The bar is a drawing because a colour from outside can only be an attribute there, never a style.
    bar = f'<svg class="bar" aria-hidden="true"><rect width="100%" height="100%" fill="{fill_colour}"/></svg>'
    return f'<article class="embed">{bar}<div class="embed-body">{"".join(parts)}</div></article>'


def _author(embed: dict[str, Any]) -> str:
    author = embed.get("author")
    return f'<p class="author">{_linked(escape(str(author["name"])), author.get("url"))}</p>' if author else ""


def _title(embed: dict[str, Any]) -> str:
    title = str(embed.get("title") or "")
    return f"<h4>{_linked(render(title, links=False), embed.get('url'))}</h4>" if title else ""


def _linked(inner: str, address: object) -> str:
    return anchor(address, inner) if isinstance(address, str) and is_plain_http(address) else inner


def _description(embed: dict[str, Any]) -> str:
    description = str(embed.get("description") or "")
    return f'<div class="description">{render(description)}</div>' if description else ""


def _fields(fields: list[dict[str, Any]]) -> str:
    rows: list[list[dict[str, Any]]] = []
    for field in fields:
        # Up to three inline fields share a row, as in Discord.
        if field.get("inline") and rows and rows[-1][-1].get("inline") and len(rows[-1]) < 3:
            rows[-1].append(field)
        else:
            rows.append([field])
    cells = [_field(field, 12 // len(row)) for row in rows for field in row]
    return f'<dl class="fields">{"".join(cells)}</dl>' if cells else ""


def _field(field: dict[str, Any], span: int) -> str:
    span = span if field.get("inline") else 12
    name, value = render(str(field["name"]), links=False), render(str(field["value"]))
    return f'<div class="span-{span}"><dt>{name}</dt><dd>{value}</dd></div>'


def _footer(embed: dict[str, Any]) -> str:
    footer, written = embed.get("footer"), embed.get("timestamp")
    parts = [escape(str(footer["text"]))] if footer else []
    parts += [time_element(datetime.fromisoformat(str(written)))] if written else []
    return f'<p class="footer">{" <span>•</span> ".join(parts)}</p>' if parts else ""


def _buttons(rows: list[dict[str, Any]]) -> str:
    out = []
    for button in [button for row in rows for button in row["components"]]:
        label = escape(str(button.get("label") or "Open"))
        link = _linked(f'{label}<svg class="i"><use href="#away"/></svg>', button.get("url"))
        out.append(f'<span class="button">{link}</span>')
    return f'<p class="buttons">{"".join(out)}</p>' if out else ""
