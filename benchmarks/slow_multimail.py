"""A stand-in for MultiMail that answers late and stamps what arrives, in a process of its own: it must not share ours.

`python -m benchmarks.slow_multimail LATENCY` prints its port; each line that follows is one decision: message, arrival.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

MAILBOX = {"id": "01BENCH", "address": "support@yourteam.example"}


def row(upstream_id: str, **fields: Any) -> dict[str, Any]:
    """Return a held message as our gateway lists it."""
    return {
        "id": upstream_id,
        "mailbox_id": MAILBOX["id"],
        "mailbox": MAILBOX["address"],
        "direction": "outbound",
        "status": "pending_send_approval",
        "from": MAILBOX["address"],
        "from_name": "Your Team",
        "reply_to": None,
        "to_addresses": ["dana@northwind.example"],
        "cc": [],
        "bcc": [],
        "subject": f"Your refund for order {upstream_id[-6:]}",
        "markdown": "Hello **Dana**,\n\nyour refund is on its way, and will be there in three to five days.\n" * 8,
        "html_body": None,
        "in_reply_to": None,
        "attachments": [],
        "additions": {},
        "send_at": None,
        "received_at": "2026-11-20T10:00:00Z",
        "metadata": {"discord_user": "ana#1", "discord_channel": "outreach", "discord_guild": "Acme"},
        **fields,
    }


class _Answers(BaseHTTPRequestHandler):
    latency = 0.0

    def log_message(self, *_: Any) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        if self.path == "/v1/account":
            return self._answer({"scopes": ["oversight"]})
        time.sleep(self.latency)
        wanted = parse_qs(urlsplit(self.path).query).get("email_id", [])
        return self._answer({"pending": [row(one) for one in wanted], "cursor": None})

    def do_POST(self) -> None:
        arrived = time.monotonic()
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        # Whole lines: many arrive at once.
        os.write(1, f"{asked['email_id']} {arrived}\n".encode())
        time.sleep(self.latency)
        self._answer({"status": "approved_and_sent", "decision": "approved", "decided_by": "bench"})

    def _answer(self, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("X-Countersign-Gateway", "1")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


class Arrivals:
    """What has arrived at a stand-in, by message; times are of the monotonic clock that all processes share."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.at: dict[str, float] = {}
        assert process.stdout is not None
        self._lines = process.stdout
        self.port = int(self._lines.readline())
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._lines:
            message, at = line.split()
            self.at[message] = float(at)


@contextlib.contextmanager
def slow_upstream(latency: float) -> Iterator[Arrivals]:
    """Run a stand-in that answers after `latency` seconds."""
    command = [sys.executable, "-m", "benchmarks.slow_multimail", str(latency)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield Arrivals(process)
    finally:
        process.terminate()
        process.wait(10)


def main(latency: str) -> None:
    """Serve until the end."""
    _Answers.latency = float(latency)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
