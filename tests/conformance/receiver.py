"""An endpoint for webhooks that stores requests unchanged. Each test uses its own path."""

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.serving import Handler, serving


@dataclass(frozen=True)
class Event:
    """One received request: headers and the raw bytes."""

    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The bytes as JSON."""
        parsed = json.loads(self.raw)
        assert isinstance(parsed, dict)
        return parsed


@dataclass
class Receiver:
    """Received requests by path, and the status of each path: 200, unless `answers` has another."""

    origin: str = ""
    events: dict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))
    answers: dict[str, int] = field(default_factory=dict)


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    """Listen on a free port of this machine."""
    state = Receiver()

    class Answers(Handler):
        def do_POST(self) -> None:  # noqa: N802
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            state.events[self.path].append(Event(dict(self.headers), raw))
            self.send_response(state.answers.get(self.path, 200))
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Answers) as origin:
        state.origin = origin
        yield state
