"""Template filters for the pages of mailboxes: oversight modes and their colours, and
durations in words.
"""

from datetime import timedelta

from django import template

from mirror import oversight_modes

register = template.Library()
register.filter(oversight_modes.mode_named)

_TONES = {
    "read_only": "blue",
    "gated_all": "green",
    "gated_send": "green",
    "monitored": "amber",
    "autonomous": "rose",
}
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


@register.filter
def mode_colour(mode: str) -> str:
    """Return the name of an oversight mode's colour in the style sheet; `plain` for a
    mode that is not known.
    """
    return _TONES.get(mode, "plain")


@register.filter
def lower_first(text: str) -> str:
    """Return a sentence that begins in lower case, to follow a colon."""
    return text[:1].lower() + text[1:]


@register.filter
def duration_in_words(value: timedelta | None) -> str:
    """Return a duration of whole seconds as `2 days` or `5 seconds`, in the largest unit
    that gives a whole number; empty for None.
    """
    if value is None:
        return ""
    seconds = value.total_seconds()
    size, unit = next(
        (
            (size, unit)
            for size, unit in _UNITS
            if seconds >= size and not seconds % size
        ),
        (1, "second"),
    )
    number = int(seconds // size)
    return f"{number} {unit}{'' if number == 1 else 's'}"
