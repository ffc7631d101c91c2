"""How a destination is: whether what goes there arrives, waits or is kept back, and why."""

from dataclasses import dataclass
from datetime import datetime

from alerts.models import Destination


@dataclass(frozen=True)
class Standing:
    """`word` and `tone` for a chip, `why` for people; with `until`, nothing goes there before."""

    word: str
    tone: str
    why: str = ""
    until: datetime | None = None


_ON = Standing("On", "green")


def standing(destination: Destination, now: datetime) -> Standing:
    """Return how the destination is at this moment."""
    if destination.switched_off_at:
        return Standing("Switched off", "rose", destination.switched_off_because)
    failures, until = destination.failures, destination.waits_until
    if until is None or until <= now:
        return Standing("Failing", "amber", f"{_failed(failures)} It is tried again by itself.") if failures else _ON
    if failures:
        return Standing("Waiting", "amber", f"{_failed(failures)} It is left alone for a moment.", until)
    why = "It takes no more for the moment: it asked us to wait, or its limit is used up."
    return Standing("Waiting", "amber", why, until)


def _failed(failures: int) -> str:
    return "The last attempt failed." if failures == 1 else f"The last {failures} attempts failed."
