"""The agent waits for what it needs and writes each letter once, whatever the gateway's moods.

The gateway is another product to it, so a listener that records what arrives stands in its place here; the
conformance tests let it write to the true one.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from demo.letters import OPENING
from tests.integration.demo.running import Demo, until


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    moods: list[int]
    letters: list[tuple[str, str, dict[str, Any]]]


class Recorder(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        mood = self.server.moods.pop(0) if self.server.moods else 202
        if mood == 202:
            self.server.letters.append((self.path, self.headers["Authorization"], body))
        answer = b'{"id": "x", "status": "queued"}'
        self.send_response(mood)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self) -> None:
        answer = b'{"emails": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def listener() -> Iterator[Listener]:
    server = Listener(("127.0.0.1", 0), Recorder)
    server.moods, server.letters = [503], []
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def write_credentials(demo: Demo, listener: Listener) -> None:
    (demo.data_dir / "credentials.env").write_text(
        f"GATEWAY_URL='http://127.0.0.1:{listener.server_address[1]}'\nAGENT_KEY='a key'\nMAILBOX_ID=one\n"
        "MAILBOX_ADDRESS=support@a.example\nMAILBOX2_ID=two\nMAILBOX2_ADDRESS=news@a.example\n"
    )


def test_the_opening_letters_are_written_once_after_trouble_and_not_again_after_a_restart(
    own_demo: Demo, listener: Listener
) -> None:
    own_demo.mode = "1"
    own_demo.start()
    until(lambda: own_demo.event("agent.waits"))
    write_credentials(own_demo, listener)
    until(lambda: len(listener.letters) == len(OPENING))
    keys = [body["idempotency_key"] for _, _, body in listener.letters]
    assert len(set(keys)) == len(OPENING)
    assert {authorization for _, authorization, _ in listener.letters} == {"Bearer a key"}
    assert {path for path, _, _ in listener.letters} == {
        "/v1/send_email",
        "/v1/mailboxes/one/send",
        "/v1/mailboxes/two/send",
    }
    progress = own_demo.data_dir / "agent.json"
    until(lambda: json.loads(progress.read_text())["sent"] == len(OPENING))
    own_demo.stop()
    own_demo.start()
    own_demo.get("/healthz")
    assert len(listener.letters) == len(OPENING)


def test_a_quiet_demo_writes_nothing(demo: Demo) -> None:
    assert not (demo.data_dir / "agent.json").exists()
