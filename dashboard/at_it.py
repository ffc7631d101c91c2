"""Who is known to have which message on screen, for the live process: it passes on only what changes. Pure."""

from typing import Any

# As long as Redis keeps it (approvals.collaboration.presence), so that a page that was loaded anew shows the same.
LASTS = 42.0
MOST = 5000
_HERE, _LEFT = "presence.here", "presence.left"


class Readers:
    """The readers by what their pages say every twenty seconds."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, str], float] = {}
        self._last: dict[tuple[str, str], dict[str, Any]] = {}

    def is_news(self, hint: dict[str, Any], *, at: float) -> bool:
        """Whether open pages do not know this yet; whatever is not about reading always is."""
        if hint["action"] not in (_HERE, _LEFT):
            return True
        key = (hint["message"], hint["person"])
        if hint["action"] == _LEFT:
            self._until.pop(key, None)
            return self._last.pop(key, None) is not None
        is_known = key in self._until
        if is_known or len(self._until) < MOST:
            self._until[key], self._last[key] = at + LASTS, hint
        return not is_known

    def gone(self, *, at: float) -> list[dict[str, Any]]:
        """Return a hint for each that has said nothing for too long, once."""
        over = [key for key, until in self._until.items() if until <= at]
        for key in over:
            del self._until[key]
        return [{**self._last.pop(key), "action": _LEFT} for key in over]
