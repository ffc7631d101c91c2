"""Receives webhooks, and believes only what the gateway signed.

Needs nothing but Python, and SIGNING_SECRET: what the gateway showed as
`signing_secret` when the webhook was made or rotated. Right after a rotation both the
old and the new secret work here; two with a blank between them are both taken. PORT is
9000 unless set.
"""

import hashlib
import hmac
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRETS = [secret.encode() for secret in os.environ["SIGNING_SECRET"].split()]
# While a rotation lasts the old secret signs the first one, and the new secret the
# second.
HEADERS = ("X-MultiMail-Signature", "X-MultiMail-Signature-Next")
LARGEST = 1_000_000
seen: set[str] = set()  # in a real program: a table with a unique column


def is_signed(body: bytes, header: str) -> bool:
    """Whether `header` is `sha256=` and the hex HMAC of the exact bytes that came. Ask
    before parsing them.
    """
    given = header.strip().removeprefix("sha256=").lower().encode()
    expected = [
        hmac.new(secret, body, hashlib.sha256).hexdigest().encode()
        for secret in SECRETS
    ]
    # In constant time: how long a comparison takes must not tell how much of a guess
    # was right.
    return any(hmac.compare_digest(given, one) for one in expected)


class Receiver(BaseHTTPRequestHandler):
    """Takes webhooks at any path."""

    def do_POST(self) -> None:
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), LARGEST))
        if not any(is_signed(body, self.headers.get(name, "")) for name in HEADERS):
            self.answer(401, {"error": "The signature does not fit."})
            return
        event = json.loads(body)
        # Answer at once; the same event may come again, with the same event_id.
        self.answer(200, {"ok": True})
        if event["event_id"] not in seen:
            seen.add(event["event_id"])
            handle(event)

    def answer(self, status: int, body: dict[str, object]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def handle(event: dict[str, object]) -> None:
    """Do what the event asks for."""
    print(
        event["event"],
        event.get("message_id"),
        event.get("decision") or "",
        event.get("reason") or "",
        flush=True,
    )


ThreadingHTTPServer(
    ("127.0.0.1", int(os.environ.get("PORT", "9000"))), Receiver
).serve_forever()
