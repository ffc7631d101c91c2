"""Template filters for the pages of mailboxes: oversight modes and their colours, and
durations in words.
"""

from datetime import timedelta

from django import template
from django.template.defaultfilters import pluralize

from mirror import oversight_modes

register = template.Library()
register.filter(oversight_modes.mode_named)

_COLOURS = {
    "read_only": "blue",
    "gated_all": "green",
    "gated_send": "green",
    "monitored": "amber",
    "autonomous": "rose",
}


@register.filter
def mode_colour(mode: str) -> str:
    """Return the name of an oversight mode's colour in the style sheet; `plain` for a
    mode that is not known.
    """
    return _COLOURS.get(mode, "plain")


@register.filter
def duration_in_words(value: timedelta) -> str:
    """Return a duration of whole seconds as `2 minutes` or `90 seconds`."""
    number = int(value.total_seconds())
    unit = "second"
    if number and number % 60 == 0:
        number //= 60
        unit = "minute"
    return f"{number} {unit}{pluralize(number)}"
