"""Small tags for the message pages: days, times in a person's time zone, and links that
may be opened.

They turn values into words; they never query, and never decide what a person may see.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from common.time_zones import local_time, zone_word
from rendering.invisibles import Tally, pieces
from rendering.links import unicode_host

register = template.Library()

# A page of the desk never links to any other kind of address in a message.
_OPENABLE = re.compile(r"(?:https?://[^\s/?#\\]+[^\s]*|mailto:[^\s]+)", re.IGNORECASE)
MAX_TARGET = 8_000


@register.filter
def day(value: datetime | None) -> SafeString | str:
    """Return a day as `20 Nov`, with the year where it is another one."""
    if value is None:
        return ""
    local = local_time(value)
    datetime_utc = value.astimezone(UTC).isoformat(timespec="seconds")
    is_this_year = local.year == local_time(timezone.now()).year
    words = f"{local:%-d %b}" if is_this_year else f"{local:%-d %b %Y}"
    title = f"{local:%F %T} {zone_word(value)}"
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', datetime_utc, title, words
    )


@register.filter
def openable(target: str) -> str:
    """Return a link's target if it may be opened from here: web pages and mail only."""
    return target if len(target) <= MAX_TARGET and _OPENABLE.fullmatch(target) else ""


@register.filter
def reads_as(domain: str) -> str:
    """Return the decoded form of a punycode domain; empty for others."""
    read = unicode_host(domain)
    return read if read != domain else ""


@register.filter
def begun(text: str, length: int) -> str:
    """Return the beginning of a text, with a note about the rest."""
    left = len(text) - length
    return f"{text[:length]}… ({left:,} more characters)" if left > 0 else text


@register.simple_tag
def parts(piece: Any, empty: str = "") -> SafeString:
    """Return a stretch of text with its marks, or words where it is empty. A tag,
    because white space shows in it.
    """
    if empty and not piece.total:
        return format_html('<span class="quiet">{}</span>', empty)
    return format_html_join(
        "",
        "{}",
        (
            (format_html('<span class="ghost">{}</span>', text) if is_mark else text,)
            for is_mark, text in piece.parts
        ),
    )


_RUNS = {
    "odd": '<mark><span class="sr-only">differs: </span>{}</mark>',
    "own": '<span class="own">{}</span>',
    "": "{}",
}


@register.simple_tag
def text_in_runs(runs: Sequence[tuple[str, Any]]) -> SafeString:
    """Return a text of a sheet, marked where it says something else than alike
    messages.
    """
    if not runs:
        return format_html('<span class="quiet">{}</span>', "This message has no text.")
    return format_html_join(
        "", "{}", ((format_html(_RUNS[kind], parts(run)),) for kind, run in runs)
    )


@register.simple_tag
def runs(row: list[tuple[bool, str]]) -> SafeString:
    """Return one row of a comparison of two names, with the letters that differ
    underlined.
    """
    shown: list[SafeString | str] = []
    for differs, text in row:
        # One character for each that cannot be seen: the rows must stay aligned.
        seen = "".join(
            "\ufffd" if is_mark else piece for is_mark, piece in pieces(text, Tally())
        )
        shown.append(format_html("<u>{}</u>", seen) if differs else seen)
    return format_html_join("", "{}", ((part,) for part in shown))
