"""Where the desk keeps its sessions: PostgreSQL, with an end to those that nobody uses and to those that last long.

Both ends are judged where a session is read, so that nothing that reads one can forget them. Django's cookie says the
same to the browser; it is not relied on.
"""

from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessions
from django.utils import timezone

# Without a request that a person made.
IDLE = timedelta(hours=2)
# Since signing in, however busy.
LONGEST = timedelta(hours=12)
# When it was last used is written at most so often.
NOTED_EVERY = timedelta(minutes=5)
BEGAN = "began_at"


class SessionStore(DatabaseSessions):
    """A session; its row ends IDLE after it was last noted, its content LONGEST after signing in."""

    seen_at: datetime | None = None

    def load(self) -> dict[str, Any]:
        # Django's stubs do not know its own method.
        row = self._get_session_from_db()  # type: ignore[attr-defined]
        if row is None:
            return {}
        data = self.decode(row.session_data)
        if _has_lasted_long(data):
            self._session_key = None
            return {}
        self.seen_at = row.expire_date - IDLE
        return data

    def get_expiry_date(self, **_: Any) -> datetime:
        """Return until when the row counts; how long the browser keeps the cookie is SESSION_COOKIE_AGE."""
        return timezone.now() + IDLE

    def is_to_be_noted(self, now: datetime) -> bool:
        """Whether it is a while ago that this session was noted as used."""
        return self.seen_at is not None and now - self.seen_at >= NOTED_EVERY


def _has_lasted_long(data: dict[str, Any]) -> bool:
    """Whether somebody signed in too long ago, or it is not known when."""
    return SESSION_KEY in data and timezone.now().timestamp() - float(data.get(BEGAN, 0)) >= LONGEST.total_seconds()
