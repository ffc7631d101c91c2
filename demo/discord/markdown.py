"""Converts Discord's Markdown to HTML, as far as cards use it: emphasis, code, quotes,
links with and without a text, time stamps, mentions. Everything else is escaped. Also
the other filters of the templates that show a channel.

A backslash takes away the special meaning of the character after it.
"""

import re
from datetime import UTC, datetime
from html import escape
from itertools import groupby
from typing import Any

from django.template import Library
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = Library()

_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
# While markup is searched, escaped characters are replaced by characters of this
# private range.
_PRIVATE_USE = 0xE000
_HIDDEN = re.compile("[\ue000-\ue0ff]")
_BLOCK = re.compile(r"```(?:[\w+-]*\n)?(.*?)```", re.DOTALL)
_TOKENS = re.compile(
    r"(?P<link>\[(?P<label>[^\[\]\n]++)\]\((?:<(?P<bracketed>https?://[^\s<>]++)>|(?P<target>https?://[^\s)\[]++))\))"
    r"|(?P<time><t:(?P<epoch>\d{1,11})(?::[tTdDfFR])?>)"
    r"|(?P<mention><(?:@[!&]?|#)\d+>|@(?:everyone|here)\b)"
    r"|<(?P<quiet>https?://[^\s<>]+)>"
    r"|(?P<bare>https?://[^\s<>()\[\]]*[^\s<>()\[\].,;:!?'\"])"
    r"|\*\*(?P<bold>.+?)\*\*"
    r"|__(?P<underline>.+?)__"
    r"|~~(?P<strike>.+?)~~"
    r"|\*(?P<italic>[^*\s](?:[^*]*[^*\s])?)\*"
    r"|\b_(?P<italic2>[^_\s](?:[^_]*[^_\s])?)_\b",
    re.DOTALL,
)
_WRAPS = {
    "bold": "strong",
    "underline": "u",
    "strike": "s",
    "italic": "em",
    "italic2": "em",
}


@register.filter("markdown")
def render(text: str, links: bool = True) -> SafeString:
    """Return a description or the value of a field as HTML. Without `links` it is a
    title or the name of a field, in which Discord makes no links.
    """
    # Characters of the private range in the text itself would become others below. No
    # card needs them.
    text = _HIDDEN.sub("\ufffd", text)
    out = ""
    for number, piece in enumerate(_BLOCK.split(text)):
        out += (
            f"<pre>{escape(piece.strip(chr(10)))}</pre>"
            if number % 2
            else _quotes(piece, links)
        )
    return SafeString(out)


def _quotes(text: str, links: bool) -> str:
    """Convert runs of lines that begin with "> " to quotes, and other line ends to
    breaks.
    """
    out = ""
    lines = text.strip("\n").split("\n")
    for is_quote, run in groupby(lines, key=lambda line: line.startswith("> ")):
        html = "<br>".join(_inline(line.removeprefix("> "), links) for line in run)
        out += f"<blockquote>{html}</blockquote>" if is_quote else html
    return out


def _inline(text: str, links: bool) -> str:
    # In code a backslash has no special meaning, so code is split off before escapes
    # are handled.
    out = []
    for number, piece in enumerate(re.split(r"((?<!\\)`[^`\n]+`)", text)):
        if number % 2:
            out.append(f"<code>{escape(piece[1:-1])}</code>")
            continue
        hidden = _ESCAPED.sub(lambda found: chr(_PRIVATE_USE + ord(found[1])), piece)
        out.append(
            _HIDDEN.sub(lambda found: escape(_revealed(found)), _markup(hidden, links))
        )
    return "".join(out)


def _revealed(match: re.Match[str]) -> str:
    return chr(ord(match[0]) - _PRIVATE_USE)


def _markup(text: str, links: bool) -> str:
    out = []
    end = 0
    for token in _TOKENS.finditer(text):
        out += [escape(text[end : token.start()]), _token(token, links)]
        end = token.end()
    return "".join([*out, escape(text[end:])])


def _token(token: re.Match[str], links: bool) -> str:
    for name, tag in _WRAPS.items():
        if token[name] is not None:
            return f"<{tag}>{_markup(token[name], links)}</{tag}>"
    if token["mention"]:
        return f'<span class="mention">{escape(token[0])}</span>'
    if token["time"]:
        return time_element(datetime.fromtimestamp(int(token["epoch"]), UTC))
    if token["link"] and links and "://" not in token["label"]:
        return _anchor(
            token["bracketed"] or token["target"], _markup(token["label"], links=False)
        )
    address = token["quiet"] or token["bare"]
    if address and links:
        return _anchor(address, escape(address))
    # Discord does not make a link if the link's text is a URL: it shows the markup.
    return escape(token[0])


@register.filter
def web_address(address: str) -> str:
    """Return an address on the web as it is, and an empty text for any other."""
    return address if re.match(r"https?://[^/?#]", address) else ""


def _anchor(address: str, inner: str) -> str:
    """Return a link that opens in a new tab; only the inner HTML if the address has no
    host.
    """
    target = web_address(_HIDDEN.sub(_revealed, address))
    if not target:
        return inner
    return f'<a href="{escape(target)}" target="_blank" rel="noopener noreferrer">{inner}</a>'


@register.filter
def time_element(moment: datetime) -> SafeString:
    """Return a time in UTC as HTML, which the page's script converts to the reader's
    zone.
    """
    return format_html(
        '<time datetime="{}">{}</time>',
        moment.isoformat(timespec="seconds"),
        f"{moment:%d %b %Y, %H:%M} UTC",
    )


@register.filter
def day(moment: datetime) -> str:
    """Return the day of a time in words."""
    return f"{moment:%d %B %Y}"


@register.filter
def in_rows(fields: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the fields of an embed in rows. Up to three inline fields share a row, as
    in Discord.
    """
    rows: list[list[dict[str, Any]]] = []
    for field in fields:
        is_beside = field.get("inline") and rows and rows[-1][-1].get("inline")
        if is_beside and len(rows[-1]) < 3:
            rows[-1].append(field)
        else:
            rows.append([field])
    return rows
