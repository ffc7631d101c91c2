"""Stand-ins for programs that receive the desk's events. They check each event, keep it
in memory, and list the received events as JSON.

Inngest's event API is answered as it is documented: `POST /e/<event key>` with one
event or a list of events. A signed webhook is checked as the Standard Webhooks
specification says.
"""

import json
import re
import secrets
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, TypeAdapter
from standardwebhooks import Webhook, WebhookVerificationError

from common.credentials import read_credentials
from common.demo import EVENTS_PATH, HOOK_PATH, HOOK_SECRET
from demo.web import Answer, Request, json_answer

# How many events are kept.
MOST_EVENTS = 500
# Inngest's limit, in bytes.
MAX_BODY = 512 * 1024
# The dev server of Inngest accepts any text as a key; this one only what looks like a
# key.
_EVENTS = re.compile(rf"{EVENTS_PATH}[A-Za-z0-9_-]{{1,200}}")


class InngestEvent(BaseModel):
    """What Inngest's event API requires of an event."""

    name: str = Field(min_length=1, max_length=256)
    data: dict[str, Any] = {}
    ts: int | None = Field(default=None, ge=0, strict=True)


@dataclass
class Event:
    """One received event. If it is received again, the first one stays."""

    program: str
    id: str
    name: str
    at: str
    body: dict[str, Any]


class Programs:
    """Answers requests to the programs' URLs, and keeps the events that they
    received.
    """

    def __init__(self, data_dir: Path) -> None:
        self._credentials = data_dir / "credentials.env"
        # Oldest first.
        self._events: dict[tuple[str, str], Event] = {}
        self._lock = threading.Lock()

    def newest(self) -> list[Event]:
        """Return the received events, newest first."""
        with self._lock:
            return list(reversed(self._events.values()))

    def handle(self, request: Request) -> Answer | None:
        """Answer a request that sends events; return None if the URL is not a
        program's.
        """
        is_event = _EVENTS.fullmatch(request.path)
        if not is_event and request.path != HOOK_PATH:
            return None
        if request.method != "POST":
            return _refused(405, "method not allowed")
        return self._on_inngest(request) if is_event else self._on_webhook(request)

    def _on_inngest(self, request: Request) -> Answer:
        """Keep the events, and answer with an id for each; with 400 or 413 in Inngest's
        words if they are not acceptable.
        """
        if len(request.body) > MAX_BODY:
            return _refused(413, "Event payload is too large")
        try:
            body = json.loads(request.body)
            events = body if isinstance(body, list) else [body]
            TypeAdapter(list[InngestEvent]).validate_python(events)
        except (ValueError, RecursionError) as error:
            return _refused(400, f"Unable to process request: {error}")
        ids = []
        for event in events:
            ids.append(str(event.get("id") or secrets.token_hex(13)))
            self._take("inngest", ids[-1], event["name"], event)
        return json_answer({"ids": ids, "status": 200})

    def _on_webhook(self, request: Request) -> Answer:
        """Keep the event, if its signature is right; otherwise answer 400."""
        # Read for each request, because the secret is made after this process has
        # begun.
        secret = read_credentials(self._credentials).get(HOOK_SECRET, "")
        if not secret:
            return _refused(400, "There is no secret yet.")
        try:
            body = Webhook(secret).verify(request.body, dict(request.headers))
            name = str(body["type"])
            self._take("webhook", request.headers["webhook-id"], name, body)
        except WebhookVerificationError:
            return _refused(400, "The signature does not hold.")
        except (ValueError, KeyError, TypeError):
            return _refused(400, "This is no signed event.")
        return Answer(204)

    def _take(self, program: str, key: str, name: str, body: dict[str, Any]) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._lock:
            self._events.setdefault((program, key), Event(program, key, name, at, body))
            while len(self._events) > MOST_EVENTS:
                del self._events[next(iter(self._events))]


def _refused(status: int, words: str) -> Answer:
    return json_answer({"error": words, "status": status}, status)
