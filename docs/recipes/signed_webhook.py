"""Receives the desk's own events, signed as the Standard Webhooks specification asks,
and believes nothing else.

Needs nothing but Python, and SIGNING_SECRET: the whsec_... that the desk showed when
the destination was added, or its secret changed. For a day after a change the desk
signs with both, so put the new one in when it suits you. PORT is 9001 unless set.
"""

import base64
import hashlib
import hmac
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = base64.b64decode(os.environ["SIGNING_SECRET"].removeprefix("whsec_"))
# What was signed longer ago than this may be somebody's repetition.
TOLERANCE = 300
LARGEST = 1_000_000
seen: set[str] = set()  # in a real program: a table with a unique column


def is_signed(body: bytes, event_id: str, timestamp: str, signatures: str) -> bool:
    """Whether one of the signatures fits id, time and the exact bytes that came. Ask
    before parsing them.
    """
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > TOLERANCE:
        return False
    digest = hmac.digest(
        KEY, f"{event_id}.{timestamp}.".encode() + body, hashlib.sha256
    )
    expected = b"v1," + base64.b64encode(digest)
    # In constant time: how long a comparison takes must not tell how much of a guess
    # was right.
    return any(
        hmac.compare_digest(one.encode(), expected) for one in signatures.split(" ")
    )


class Receiver(BaseHTTPRequestHandler):
    """Takes events at any path."""

    def do_POST(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), LARGEST))
        event_id, timestamp, signatures = (
            self.headers.get(f"webhook-{name}", "")
            for name in ("id", "timestamp", "signature")
        )
        if not is_signed(body, event_id, timestamp, signatures):
            self.answer(401)
            return
        # Answer at once; the same event may come again, with the same id.
        self.answer(204)
        if event_id not in seen:
            seen.add(event_id)
            handle(json.loads(body))

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def handle(event: dict[str, dict[str, object]]) -> None:
    """Do what the event asks for."""
    data = event["data"]
    print(
        event["type"],
        data.get("message_id"),
        data.get("decision") or "",
        data.get("reason") or "",
        flush=True,
    )


ThreadingHTTPServer(
    ("127.0.0.1", int(os.environ.get("PORT", "9001"))), Receiver
).serve_forever()
