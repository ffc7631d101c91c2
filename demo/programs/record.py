"""The events that the programs received: in memory, and in a journal that is read at
the start.
"""

import json
import threading
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MOST_EVENTS = 500


@dataclass(slots=True)
class Event:
    """One received event. `times` counts its deliveries; a program acts on the first."""

    program: str
    id: str
    name: str
    at: str
    body: dict[str, Any]
    times: int = 1


@dataclass(slots=True)
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
