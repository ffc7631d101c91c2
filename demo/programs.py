"""Stand-ins for programs that receive a desk's events, and the page that shows what they
received. Everything shown is escaped.

Inngest's event API is answered as it is documented: `POST /e/<event key>` with one
event or a list of them. A signed webhook is checked as the Standard Webhooks
specification asks its users to. The events are kept in a journal, which is read at the
start.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from common.credentials import read_credentials
from common.demo import EVENTS_PATH, HOOK_PATH, HOOK_SECRET
from demo.discord.markdown import time_element
from demo.web import Answer, Request, fill, json_answer

MOST_EVENTS = 500


@dataclass
class Event:
    """One received event. `times` counts its deliveries; a program acts on the first."""

    program: str
    id: str
    name: str
    at: str
    body: dict[str, Any]
    times: int = 1


@dataclass
class Record:
    """The events, oldest first. Every method may be called from any thread."""

    journal_path: Path
    _events: "OrderedDict[tuple[str, str], Event]" = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _started: int = field(default_factory=time.time_ns)
    _changes: int = 0

    def open(self) -> None:
        """Read the journal; a line torn by a kill is left out."""
        if not self.journal_path.exists():
            return
        for line in self.journal_path.read_text(
            encoding="utf-8", errors="replace"
        ).splitlines():
            try:
                self._keep(Event(**json.loads(line)))
            except (ValueError, TypeError):
                continue

    @property
    def version(self) -> str:
        """A word that changes with the list."""
        return f"{self._started:x}-{self._changes}"

    def newest(self) -> list[Event]:
        """Return the events, newest first."""
        with self._lock:
            return list(reversed(self._events.values()))

    def take(
        self, program: str, event_id: str, name: str, body: dict[str, Any]
    ) -> bool:
        """Take an event in, and return whether it is a new one."""
        with self._lock:
            known = self._events.get((program, event_id))
            if known is not None:
                known.times += 1
                self._changes += 1
                return False
            event = Event(
                program,
                event_id,
                name,
                datetime.now(UTC).isoformat(timespec="milliseconds"),
                body,
            )
            self._keep(event)
            with self.journal_path.open("a", encoding="utf-8") as journal:
                journal.write(f"\n{json.dumps(asdict(event))}")
        return True

    def _keep(self, event: Event) -> None:
        self._events[event.program, event.id] = event
        while len(self._events) > MOST_EVENTS:
            self._events.popitem(last=False)
        self._changes += 1


_EVENTS = re.compile(rf"{EVENTS_PATH}[A-Za-z0-9_-]{{1,200}}")
# The dev server of Inngest takes any key; this one takes those that could be one.
MAX_BODY = 512 * 1024
MAX_NAME = 256
TOLERANCE_SECONDS = 300
_TITLES = {"inngest": "Inngest", "webhook": "Signed webhook"}


@dataclass
class Programs:
    """Answers what goes to the programs' addresses; None for other addresses."""

    record: Record
    credentials: Path
    dashboard_url: str

    def handle(self, request: Request) -> Answer | None:
        """Take an event in."""
        is_event = bool(_EVENTS.fullmatch(request.path))
        is_hook = request.path == HOOK_PATH
        if not (is_event or is_hook):
            return None
        if request.method != "POST":
            return json_answer({"error": "method not allowed", "status": 405}, 405)
        if is_event:
            return _take_events(self.record, request)
        # Read each time: it is made after this process has begun.
        secret = read_credentials(self.credentials).get(HOOK_SECRET, "")
        return _take_hook(self.record, request, secret)

    def page(self) -> str:
        """Return the whole page."""
        return fill(
            "programs.html",
            rows=self.rows(),
            version=self.record.version,
            dashboard_url=escape(self.dashboard_url),
        )

    def rows(self) -> str:
        """Return the events, newest first."""
        nothing = '<li class="none">No program was told anything yet. Decide about a message, and look again.</li>'
        rows = []
        for event in self.record.newest():
            again = ""
            if event.times > 1:
                again = (
                    f' <span class="chip">came {event.times} times, counted once</span>'
                )
            signed = ""
            if event.program == "webhook":
                signed = ' <span class="chip green">✓ signature holds</span>'
            at = time_element(datetime.fromisoformat(event.at))
            body = escape(json.dumps(event.body, indent=2, ensure_ascii=False))
            rows.append(
                f'<li class="event"><details><summary><span class="chip">{_TITLES.get(event.program, "")}</span> '
                f'<b>{escape(event.name)}</b>{signed}{again} <span class="faint">{at}</span></summary>'
                f'<p class="mono faint">{escape(event.id)}</p><pre tabindex="0">{body}</pre></details></li>'
            )
        return "".join(rows) or nothing

    def listed(self) -> list[dict[str, object]]:
        """Return the events, newest first, as they came."""
        return [asdict(event) for event in self.record.newest()]


def _take_events(record: Record, request: Request) -> Answer:
    """Take the events in and answer with an id for each; 400 and 413 as Inngest says
    them.
    """
    if len(request.body) > MAX_BODY:
        return _refused(413, "Event payload is too large")
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError):
        return _refused(400, "Unable to process request: invalid JSON")
    events = body if isinstance(body, list) else [body]
    if wrong := next((words for words in map(_what_is_wrong, events) if words), ""):
        return _refused(400, wrong)
    ids = []
    for event in events:
        event_id = str(event.get("id") or secrets.token_hex(13))
        record.take("inngest", event_id, event["name"], event)
        ids.append(event_id)
    return json_answer({"ids": ids, "status": 200})


def _what_is_wrong(event: Any) -> str:
    if not isinstance(event, dict):
        return "Event must be an object"
    name = event.get("name")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME:
        return "Event name is empty" if not name else "Event name is too long"
    if not isinstance(event.get("data", {}), dict):
        return "Event data must be an object"
    moment = event.get("ts")
    if moment is not None and (type(moment) is not int or moment < 0):
        return "Event ts must be in milliseconds"
    return ""


def _refused(status: int, words: str) -> Answer:
    return json_answer({"error": words, "status": status}, status)


def _take_hook(record: Record, request: Request, secret: str) -> Answer:
    """Take an event in whose signature holds; 400 for what is none."""
    if not _is_signed(request.headers, request.body, secret, time.time()):
        return json_answer({"error": "The signature does not hold."}, 400)
    try:
        body = json.loads(request.body)
        record.take("webhook", request.headers["webhook-id"], str(body["type"]), body)
    except (ValueError, KeyError, TypeError):
        return json_answer({"error": "This is signed, but no event."}, 400)
    return Answer(204)


def _is_signed(
    headers: Mapping[str, str], body: bytes, secret: str, now: float
) -> bool:
    """Return whether one of the signatures is of this secret, over id, time and body,
    and not from long ago. Pure.
    """
    event_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not event_id or not timestamp.isascii() or not timestamp.isdigit():
        return False
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (ValueError, binascii.Error):
        return False
    signed = f"{event_id}.{timestamp}.".encode() + body
    expected = (
        "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    )
    signatures = headers.get("webhook-signature", "").split(" ")
    return bool(key) and any(
        hmac.compare_digest(one.encode(), expected.encode()) for one in signatures
    )
