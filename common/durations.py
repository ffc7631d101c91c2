"""Durations as people write them: `45 min`, `4 h`, `1 h 30 min`."""

import re

_UNITS = (60, 1)
_WRITTEN = re.compile(r"(?:(\d{1,5})\s*h)?\s*(?:(\d{1,6})\s*min)?", re.IGNORECASE)
EXAMPLES = "Write it as 45 min, 4 h or 1 h 30 min."


def read_minutes(text: str) -> int:
    """Return the minutes of a duration. Raises ValueError with a sentence for anything
    else.
    """
    found = _WRITTEN.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        raise ValueError(EXAMPLES)
    return sum(
        int(number or 0) * size
        for number, size in zip(found.groups(), _UNITS, strict=True)
    )


def minutes_in_words(minutes: int) -> str:
    """Return minutes as `read_minutes` reads them, in hours and minutes."""
    hours, rest = divmod(minutes, 60)
    return " ".join(
        [
            *([f"{hours} h"] if hours else []),
            *([f"{rest} min"] if rest or not hours else []),
        ]
    )
