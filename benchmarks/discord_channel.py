"""A stand-in for a channel of Discord with its rate limits, announced in headers and not, which counts its answers."""

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Requests within seconds: the limit that headers announce, and the one that nothing does.
ANNOUNCED, HIDDEN = (5, 2.0), (30, 60.0)
PATH = "/api/webhooks/1/bench"


class Limits:
    """Both limits. A window that is told of begins with its first request; the hidden one slides."""

    def __init__(self) -> None:
        self._start, self._used = 0.0, 0
        self._taken: list[float] = []

    def take(self, now: float) -> tuple[float, dict[str, str]]:
        """Count one request, or return the seconds to wait; and the headers that Discord sends."""
        most, window = ANNOUNCED
        if now >= self._start + window:
            self._start, self._used = now, 0
        after = self._start + window - now
        self._taken = [one for one in self._taken if one > now - HIDDEN[1]]
        wait = after if self._used >= most else 0.0
        if not wait and len(self._taken) >= HIDDEN[0]:
            wait = self._taken[0] + HIDDEN[1] - now
        if not wait:
            self._used += 1
            self._taken.append(now)
        left = {"X-RateLimit-Remaining": str(most - self._used), "X-RateLimit-Reset-After": f"{after:.3f}"}
        return wait, {"X-RateLimit-Bucket": "bench", "X-RateLimit-Limit": str(most), **left}


def allowed_within(seconds: float) -> int:
    """Return how many requests both limits let through in so long, of whoever never misses one."""
    limits, granted = Limits(), 0
    # From a time on that is no window's beginning.
    for step in range(int(seconds * 100)):
        while not limits.take(1000.0 + step / 100)[0]:
            granted += 1
    return granted


@dataclass
class Channel:
    """What was asked: each answer with its time, and what stands there."""

    url: str = ""
    answered: list[tuple[float, int]] = field(default_factory=list)
    posts: dict[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def forget(self) -> None:
        """Count from now on."""
        with self.lock:
            self.answered.clear()

    def counted(self, until: float) -> Counter[int]:
        """The answers that were given by then, by status."""
        return Counter(status for at, status in self.answered if at <= until)


@contextlib.contextmanager
def channel() -> Iterator[Channel]:
    """Serve a channel on a free port."""
    served = Channel()

    class Answers(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Stay silent."""

        def _answer(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with served.lock:
                now = time.monotonic()
                wait, headers = served.limits.take(now)
                status = 429 if wait else 200
                served.answered.append((now, status))
                key = self.path.partition("/messages/")[2].partition("?")[0] or str(10**17 + len(served.answered))
                if not wait:
                    served.posts[key] = body
            reply = {"retry_after": wait, "global": False} if wait else {"id": key, "channel_id": "1"}
            raw = json.dumps(reply).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(raw))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        do_POST = do_PATCH = _answer  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield served
    finally:
        server.shutdown()
