"""Durations as people write them: `45 min`, `4 h`, `1 h 30 min`."""

import re

_WRITTEN = re.compile(r"(?:(\d{1,5})\s*h)?\s*(?:(\d{1,6})\s*min)?", re.IGNORECASE)
# In characters.
MAX_WRITTEN = 60
EXAMPLES = "Write it as 45 min, 4 h or 1 h 30 min."


def read_minutes(text: str) -> int:
    """Return the minutes of a duration that somebody wrote. Raises ValueError with a
    sentence if the text is no duration.
    """
    match = _WRITTEN.fullmatch(text.strip()[: MAX_WRITTEN + 1])
    if match is None or not any(match.groups()):
        raise ValueError(EXAMPLES)
    return 60 * int(match[1] or 0) + int(match[2] or 0)


def minutes_in_words(minutes: int) -> str:
    """Return the duration as text that `read_minutes` can read, such as `1 h 30 min`."""
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"{rest} min"
    return f"{hours} h {rest} min" if rest else f"{hours} h"
