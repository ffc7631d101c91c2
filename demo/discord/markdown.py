"""Converts Discord's Markdown to HTML, as far as cards use it: what it has in common
with CommonMark, bare links, time stamps, mentions. Everything else is escaped. Also the
other filters of the templates that show a channel.
"""

import re
from datetime import UTC, datetime
from functools import cache

from django.template import Library
from django.utils.html import format_html
from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline

from common.unique_keys import Json

register = Library()

_SPECIAL = re.compile(
    r"<t:(?P<epoch>\d{1,11})(?::[tTdDfFR])?>|<(?:@[!&]?|#)\d+>|@(?:everyone|here)\b"
)
_BARE_LINK = re.compile(r"(?<![(<\[])https?://[^\s<>()\[\]]*[^\s<>()\[\].,;:!?'\"\\]")


@register.filter("markdown")
def render(text: str, links: bool = True) -> SafeString:
    """Return a description or the value of a field as HTML. Without `links` it is a
    title or the name of a field, in which Discord makes no links.
    """
    html = _parser(links=links).render(
        _BARE_LINK.sub(r"<\g<0>>", text) if links else text
    )
    html = html.replace("</p>\n<p>", "<br><br>")
    html = html.replace("<a ", '<a target="_blank" rel="noopener noreferrer" ')
    return SafeString(re.sub("</?p>", "", html).strip())


@cache
def _parser(*, links: bool) -> MarkdownIt:
    rules = "fence blockquote newline escape backticks strikethrough emphasis".split()
    if links:
        rules += ["link", "autolink"]
    parser = MarkdownIt("zero", {"breaks": True}).enable(rules)
    parser.inline.ruler.before("text", "special", _special)
    return parser


def _special(state: StateInline, silent: bool) -> bool:
    """Read a time stamp or mention, which only Discord has."""
    found = _SPECIAL.match(state.src, state.pos)
    if not found:
        return False
    if not silent:
        token = state.push("html_inline", "", 0)
        token.content = format_html('<span class="mention">{}</span>', found[0])
        if found["epoch"]:
            at = datetime.fromtimestamp(int(found["epoch"]), UTC)
            token.content = time_element(at)
    state.pos = found.end()
    return True


@register.filter
def web_address(address: str) -> str:
    """Return an address on the web as it is, and an empty text for any other."""
    return address if re.match(r"https?://[^/?#]", address) else ""


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
def in_rows(fields: list[Json]) -> list[list[Json]]:
    """Return the fields of an embed in rows. Up to three inline fields share a row, as
    in Discord.
    """
    rows: list[list[Json]] = []
    for field in fields:
        is_beside = field.get("inline") and rows and rows[-1][-1].get("inline")
        if is_beside and len(rows[-1]) < 3:
            rows[-1].append(field)
        else:
            rows.append([field])
    return rows
