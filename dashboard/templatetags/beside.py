"""Small tags for the panel beside a message: who reads it, and times in a person's time zone. They never query."""

from collections.abc import Sequence
from datetime import datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals.collaboration.forms import zone_of
from approvals.collaboration.presence import Reader

register = template.Library()


@register.filter
def reading_words(readers: Sequence[Reader]) -> str:
    """Return who reads: "Ana Ferreira is reading"."""
    names = [one.name for one in readers]
    if len(names) > 2:
        return f"{len(names)} others are reading"
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} reading" if names else ""


@register.filter
def local_moment(value: datetime | None, zone: str) -> SafeString | str:
    """Return date and time in a time zone, with its name: `21 Nov, 09:00 (Europe/Lisbon)`."""
    if value is None:
        return ""
    there = zone_of(zone)
    return format_html(
        '<time datetime="{}">{} ({})</time>',
        value.isoformat(timespec="seconds"),
        f"{value.astimezone(there):%-d %b, %H:%M}",
        str(there),
    )
