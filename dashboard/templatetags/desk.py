"""Template tags and filters that many pages of the desk use: icons, ages and times,
short fingerprints, domains in punycode, and text with its invisible characters drawn.

They turn values into words and markup. They never query, and never decide what a person
may see.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, wraps
from typing import TYPE_CHECKING, Any

from django import template
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString

from common.fingerprint import FINGERPRINT, short_fingerprint
from common.time_zones import (
    day_and_time,
    local_time,
    minutes_from_utc,
    time_of_day,
    zone_name,
    zone_word,
)
from dashboard import words
from rendering.invisibles import Tally, pieces
from rendering.links import unicode_host
from risk.odd_links import oddities_of

if TYPE_CHECKING:
    # Not at run time: the gateway's process loads this module too, and has no ledger.
    from audit.models import Entry

register = template.Library()

# Units of time in seconds, and their short names.
_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"))
# The ids of marks in the frame with a message's content.
_FRAME_MARK = re.compile(r"(?:hidden|link|part|ink)-[0-9]{1,6}")

# How many characters of a value a page shows. The whole text is in a message's views
# Source and Headers.
MAX_INK = 30_000


@register.simple_tag
@cache
def icon(name: str) -> SafeString:
    """Return one icon of the sprite. It is only decoration, so the words beside it must
    say the same.
    """
    return format_html(
        '<svg class="i" aria-hidden="true"><use href="{}#{}"/></svg>',
        static("icons/sprite.svg"),
        name,
    )


@register.simple_tag(takes_context=True)
def key(context: Mapping[str, Any], label: str) -> SafeString | str:
    """Return a shortcut's key as HTML; nothing if the person's shortcuts are off."""
    if getattr(context.get("user"), "keys_off", False):
        return ""
    return format_html("<kbd>{}</kbd>", label)


@register.filter
def thousands(number: int) -> str:
    """Return a number with separators, as `12,400`."""
    return f"{number:,}"


@register.filter
def short(value: str | None) -> str:
    """Return a fingerprint's short form; empty if it is no valid fingerprint."""
    return short_fingerprint(value) if value and FINGERPRINT.fullmatch(value) else ""


def _of_time(
    show: Callable[[datetime], SafeString],
) -> Callable[[datetime | None], SafeString | str]:
    """Register a filter for times. Without a time it returns an empty text."""

    @wraps(show)
    def shown(value: datetime | None) -> SafeString | str:
        return show(value) if value else ""

    return register.filter(shown)


@_of_time
def age(value: datetime) -> SafeString:
    """Return how long ago a time was, as `24 min`. The element's title has the exact
    time.
    """
    return _time(value, distance(value), "age")


@_of_time
def lasting(value: datetime) -> SafeString:
    """Return how long something has lasted since a time, or is left until it, as `24
    min`.
    """
    return _time(value, distance(value, young="under a minute"), "lasting")


@_of_time
def ago(value: datetime) -> SafeString:
    """Return how long ago a time was, as `24 min ago`."""
    return _time(value, distance(value, " ago"), "ago")


@_of_time
def clock(value: datetime) -> SafeString:
    """Return the time of day with its zone, as `10:42:07 UTC`. People elsewhere could
    take it for an old time without the zone.
    """
    return _time(value, time_of_day(value), "")


@_of_time
def moment(value: datetime) -> SafeString:
    """Return date and time as `20 Nov, 10:42:07`, for pages that say in which zone
    their times are.
    """
    return _time(value, f"{local_time(value):%-d %b, %H:%M:%S}", "")


@_of_time
def instant(value: datetime) -> SafeString:
    """Return date and time with the zone, as `20 Nov, 10:42:07 UTC`."""
    return format_html("{} {}", moment(value), zone_word(value))


@_of_time
def planned(value: datetime) -> SafeString:
    """Return a time to come, as `20 Nov, 10:42 UTC`: seconds would promise too much."""
    return _time(value, day_and_time(value), "")


@_of_time
def dated(value: datetime) -> SafeString:
    """Return date and time with the year, as `20 Nov 2026, 10:42:07`, for pages that
    say in which zone their times are.
    """
    return _time(value, f"{local_time(value):%-d %b %Y, %H:%M:%S}", "")


@register.simple_tag
def times_are() -> str:
    """Return in which zone a page's times are, for the end of a sentence: `UTC`, or
    `those of Europe/Lisbon`.
    """
    name = zone_name()
    return name if name == "UTC" else f"those of {name.replace('_', ' ')}"


@register.simple_tag
def zone_now() -> str:
    """Return by how many minutes the person's zone differs from UTC now, and the zone's
    name, for the page's script.
    """
    now = timezone.now()
    return f"{minutes_from_utc(now)} {zone_word(now)}"


def distance(value: datetime, after: str = "", *, young: str = "just now") -> str:
    """Return the time between a moment and now, in the largest unit that fits, and what
    comes `after` it, as `24 min ago`. If it is less than a minute, return `young`.
    """
    seconds = abs((timezone.now() - value).total_seconds())
    return next(
        (
            f"{int(seconds // size)} {unit}{after}"
            for size, unit in _STEPS
            if seconds >= size
        ),
        young,
    )


def _time(value: datetime, words: str, kind: str) -> SafeString:
    # A page of the queue has a few hundred of these, and isoformat takes a tenth of the
    # time of strftime.
    utc = value.astimezone(UTC).isoformat(" ", "seconds")
    zone = zone_word(value)
    exact = f"{utc[:19]} UTC"
    if zone != "UTC":
        local = local_time(value).isoformat(" ", "seconds")[:19]
        exact = f"{local} {zone}, {utc[11:19]} UTC"
    live = f' data-live="{kind}"' if kind else ""
    # No part of this was written by a sender, so nothing has to be escaped.
    return SafeString(
        f'<time datetime="{utc.replace(" ", "T")}" title="{exact}"{live}>{words}</time>'
    )


@register.filter
def ink(value: Any, most: int = MAX_INK) -> SafeString:
    """Return text from mail as HTML, `most` characters of it. Each invisible character
    is drawn as a named box, and the text cannot change the direction of what is around
    it.
    """
    text = str(value or "")
    if text.isascii() and text.isprintable() and len(text) <= most:
        # A fast way for most text, which has nothing to draw.
        return SafeString(f"<bdi>{escape(text)}</bdi>")
    left_out_count = len(text) - most
    left_out = f"… ({left_out_count:,} more characters)" if left_out_count > 0 else ""
    drawn = _drawn(pieces(text[:most], Tally()))
    return format_html("<bdi>{}{}</bdi>", drawn, left_out)


def joined(html: Iterable[SafeString | str]) -> SafeString:
    """Return pieces of HTML one after the other; those that are mere text are escaped."""
    return format_html_join("", "{}", ((one,) for one in html))


def _drawn(text: Iterable[tuple[bool, str]]) -> SafeString:
    return joined(
        format_html('<span class="ghost">{}</span>', piece) if is_mark else piece
        for is_mark, piece in text
    )


@register.filter
def shortened(value: Any, most: int) -> str:
    """Return `most` characters of a text, with an ellipsis if there are more. Django's
    `truncatechars` takes quadratic time if many accents are in a row.
    """
    text = str(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


@register.filter
def origin(trigger: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a sender claims about who started a message, by short names, and
    claims without a short name as a list under `others`.
    """
    named: dict[str, Any] = {}
    others: list[tuple[str, str]] = []
    for name, value in (trigger or {}).items():
        if name in words.ORIGIN:
            text = str(value)
            is_channel = name == "discord_channel"
            named[words.ORIGIN[name]] = text.lstrip("#") if is_channel else text
        elif isinstance(value, str | int | float | bool):
            others.append((str(name), str(value)))
    return {**named, "others": others[:20]}


register.filter("oddities", oddities_of)


@register.filter
def addition_words(name: str) -> str:
    """Return in words what is added when a message is sent."""
    return words.ADDITIONS.get(name, name.replace("_", " ").capitalize())


@register.filter
def spoken(action: str) -> str:
    """Return an action's name as words: `message held` for `message.held`."""
    return action.replace(".", " ").replace("_", " ")


@register.filter
def sensitive_act(name: str) -> str:
    """Return what a person is about to do, as words, by the name of its address; empty
    for what is not sensitive.
    """
    return words.SENSITIVE.get(name, "")


@register.filter
def head_of_body(head: Any, size: int) -> SafeString:
    """Return the beginning of a webhook's raw body as HTML, with odd characters drawn.
    The body may be anything.
    """
    raw = bytes(head)
    drawn = ink(raw.decode("utf-8", "replace"))
    if size <= len(raw):
        return drawn
    return format_html("{}\n… {} more bytes", drawn, size - len(raw))


@register.filter
def frame_mark(value: str | None) -> str:
    """Return the fragment that leads to a mark in the message's frame, for the end of
    the frame's URL; empty if the mark's id is not valid.
    """
    return f"#{value}" if value and _FRAME_MARK.fullmatch(value) else ""


@register.filter
def tone(action: str) -> str:
    """Return the colour of an action's mark in the audit trail."""
    return words.TONES.get(action, "plain")


@register.filter
def event_sentence(line: "Entry") -> str:
    """Return what happened in an entry, to follow the actor's name, with the outcome if
    the entry has one.
    """
    outcome = words.OUTCOMES.get(line.outcome or line.details.get("outcome", ""), "")
    if outcome and line.action == "verdict.given":
        return outcome
    return f"{line.sentence} ({outcome})" if outcome else line.sentence


def facts(line: "Entry") -> list[tuple[str, str]]:
    """Return the details of an entry that are not shown elsewhere, each as name and
    value.
    """
    return [
        (name.removeprefix("trigger.").replace("_", " "), value)
        for name, value in line.details.items()
        if name not in words.SAID
    ]


@_of_time
def day(value: datetime) -> SafeString:
    """Return a day as `20 Nov`, with the year if it is not this year."""
    local = local_time(value)
    is_this_year = local.year == local_time(timezone.now()).year
    words = f"{local:%-d %b}" if is_this_year else f"{local:%-d %b %Y}"
    return _time(value, words, "")


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
    return _drawn(piece.parts)


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
    return joined(format_html(_RUNS[kind], parts(run)) for kind, run in runs)


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
    return joined(html)
