"""The agent waits for what it needs and writes each message once, whatever the
gateway's moods.

The gateway is another product to it, so a listener that records what arrives stands in
its place here; the conformance tests let it write to the true one.
"""

import json
import threading

import pytest

from demo import agent
from demo.messages import OPENING
from tests.integration.demo.running import SECONDS
from tests.serving import Handler, serving
from tests.stack import wait_for

pytestmark = pytest.mark.slow


def test_opening_messages_are_sent_once_despite_errors_and_restarts(
    tmp_path, monkeypatch
):
    moods = [503]
    received = []

    class Gateway(Handler):
        def do_POST(self):  # noqa: N802
            body = json.loads(self.body())
            mood = moods.pop() if moods else 202
            if mood == 202:
                received.append(body["idempotency_key"])
            self.reply(mood, b'{"id": "x", "status": "queued"}')

        def do_GET(self):  # noqa: N802
            self.reply(200, b'{"emails": []}')

    for name in ("HEARSAY_SECONDS", "SECOND_THOUGHT_SECONDS"):
        monkeypatch.setattr(agent, name, 0)
    # The thread sleeps until the tests end.
    monkeypatch.setattr(agent, "PAUSE_SECONDS", (10**6, 10**6))
    writer = agent.Agent(tmp_path)
    threading.Thread(target=writer.run, daemon=True).start()
    with serving(Gateway) as url:
        (tmp_path / "credentials.env").write_text(
            f"GATEWAY_URL='{url}'\nAGENT_KEY='a key'\nMAILBOX_ID=one\nMAILBOX2_ID=two\n"
            "INBOUND_PORT=1\n"
            "MAILBOX_ADDRESS=support@a.example\nMAILBOX2_ADDRESS=news@a.example\n"
        )
        wait_for(
            lambda: writer._progress()["sent"] == len(OPENING),
            SECONDS,
            "the opening messages",
        )
    assert len(set(received)) == len(received) == len(OPENING)
    assert agent.Agent(tmp_path)._progress() == writer._progress()
