"""Template tags and filters for the pages that show messages: days, domains in
punycode, and marked text.

They turn values into words and markup. They never query, and never decide what a person
may see.
"""

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


@register.filter
def day(value: datetime | None) -> SafeString | str:
    """Return a day as `20 Nov`, with the year if it is not this year."""
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
def reads_as(domain: str) -> str:
    """Return how a punycode domain looks when it is decoded; empty for other
    domains.
    """
    decoded = unicode_host(domain)
    return decoded if decoded != domain else ""


@register.filter
def begun(text: str, length: int) -> str:
    """Return the first `length` characters of a text, and how many more there are."""
    left = len(text) - length
    return f"{text[:length]}… ({left:,} more characters)" if left > 0 else text


@register.simple_tag
def parts(piece: Any, empty: str = "") -> SafeString:
    """Return a piece of text as HTML, with its invisible characters drawn; the words
    `empty` if it is empty. This is a tag, because white space in it is visible.
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


# The HTML for the runs of a text, by how they compare with alike messages
# (approvals.bulk.groups): different from most, individual, or the same.
_RUNS = {
    "odd": '<mark><span class="sr-only">differs: </span>{}</mark>',
    "own": '<span class="own">{}</span>',
    "": "{}",
}


@register.simple_tag
def text_in_runs(runs: Sequence[tuple[str, Any]]) -> SafeString:
    """Return a message's text on a bulk sheet as HTML, marked where it differs from
    alike messages. A run is its kind and its text.
    """
    if not runs:
        return format_html('<span class="quiet">{}</span>', "This message has no text.")
    return format_html_join(
        "", "{}", ((format_html(_RUNS[kind], parts(run)),) for kind, run in runs)
    )


@register.simple_tag
def runs(row: list[tuple[bool, str]]) -> SafeString:
    """Return one of two compared names as HTML, with the letters that differ
    underlined.
    """
    html: list[SafeString | str] = []
    for differs, text in row:
        # Each invisible character becomes one visible one, so that the two names stay
        # aligned.
        visible = ""
        for is_mark, piece in pieces(text, Tally()):
            visible += "\ufffd" if is_mark else piece
        html.append(format_html("<u>{}</u>", visible) if differs else visible)
    return format_html_join("", "{}", ((part,) for part in html))
