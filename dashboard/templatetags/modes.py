"""Small tags for the pages of mailboxes: the tone of an oversight mode, and durations
as people say them.
"""

from datetime import timedelta

from django import template

from mirror import oversight_modes

register = template.Library()

_TONES = {
    "read_only": "blue",
    "gated_all": "green",
    "gated_send": "green",
    "monitored": "amber",
    "autonomous": "rose",
}
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


@register.filter
def mode_tone(mode: str) -> str:
    """Return the tone of a mode: the looser, the warmer."""
    return _TONES.get(mode, "plain")


@register.filter
def mode_named(name: str) -> oversight_modes.Mode | None:
    """Return the mode with this name; None where this version does not know it."""
    return oversight_modes.mode_named(name)


@register.filter
def lower_first(text: str) -> str:
    """Return a sentence as it stands after a colon."""
    return text[:1].lower() + text[1:]


@register.filter
def lasting_for(value: timedelta | None) -> str:
    """Return how long, as `2 days` or `5 seconds`, in the largest unit that fits whole."""
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
    number = f"{seconds / size:g}"
    return f"{number} {unit}{'' if number == '1' else 's'}"
