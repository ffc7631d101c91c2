"""Template filters for the pages of mailboxes: the colour of an oversight mode, and
durations in words.
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
    """Return the colour of an oversight mode. Looser modes have warmer colours."""
    return _TONES.get(mode, "plain")


@register.filter
def mode_named(name: str) -> oversight_modes.Mode | None:
    """Return the oversight mode with this name; None if this version does not have
    it.
    """
    return oversight_modes.mode_named(name)


@register.filter
def lower_first(text: str) -> str:
    """Return a sentence with a small first letter, to follow a colon."""
    return text[:1].lower() + text[1:]


@register.filter
def lasting_for(value: timedelta | None) -> str:
    """Return a duration as `2 days` or `5 seconds`, in the largest unit that gives a
    whole number.
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
    number = f"{seconds / size:g}"
    return f"{number} {unit}{'' if number == '1' else 's'}"
