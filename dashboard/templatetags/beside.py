"""Small tags for the panel beside a message: times in a person's time zone. They never
query.
"""

from datetime import datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals.collaboration.forms import zone_of

register = template.Library()


@register.filter
def local_moment(value: datetime | None, zone: str) -> SafeString | str:
    """Return date and time in a time zone, with its name: `21 Nov, 09:00
    (Europe/Lisbon)`.
    """
    if value is None:
        return ""
    there = zone_of(zone)
    return format_html(
        '<time datetime="{}">{} ({})</time>',
        value.isoformat(timespec="seconds"),
        f"{value.astimezone(there):%-d %b, %H:%M}",
        str(there),
    )
