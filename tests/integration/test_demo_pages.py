"""The demo's pages: hostile content stays text, and the CSP is strict."""

import asyncio
import threading
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import requests

from demo import __main__ as main

SECONDS = 60.0
ask = partial(requests.request, timeout=SECONDS)
_webhook_ids = count(118_000_000_000_001)


@dataclass
class Demo:
    """The demo without its agent, on free ports, in a thread of the test process. Its
    data stay in the folder.
    """

    data_dir: Path

    def start(self):
        demo = main.Demo(
            {
                "DISCORD_PORT": "0",
                "SMTP_PORT": "0",
                "DATA_DIR": str(self.data_dir),
                "PUBLIC_URL": "http://desk.test",
                "DEMO": "quiet",
            }
        )
        self.url = f"http://127.0.0.1:{demo.web.getsockname()[1]}"
        self.server = demo.server
        self._serving = threading.Thread(
            target=asyncio.run, args=(demo.serve(),), daemon=True
        )
        self._serving.start()
        return self

    def stop(self):
        self.server.should_exit = True
        self._serving.join()

    def get(self, path, **options):
        return ask("GET", self.url + path, **options)

    def new_webhook(self):
        """Return the address of a webhook with a rate limit of its own."""
        return f"{self.url}/api/webhooks/{next(_webhook_ids)}/a-token_1"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    running = Demo(tmp_path_factory.mktemp("demo")).start()
    yield running
    running.stop()


HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">'
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def assert_harmless(html):
    for markup in ("<script>", "<img", "style="):
        assert markup not in html
    assert "&lt;script&gt;" in html


def test_hostile_cards_are_escaped_everywhere(demo):
    embed = {
        "title": HOSTILE,
        "url": "https://desk.test/a?b=1&c=2",
        "description": HOSTILE,
        "fields": [{"name": HOSTILE, "value": HOSTILE}],
    }
    payload = {"content": HOSTILE, "username": HOSTILE[:60], "embeds": [embed]}
    assert ask("POST", demo.new_webhook(), json=payload).status_code == 204
    button = {"type": 2, "style": 5, "label": "x", "url": "javascript:alert(3)"}
    payload |= {"components": [{"type": 1, "components": [button]}]}
    embed["url"] = button["url"]
    assert ask("POST", demo.new_webhook(), json=payload).status_code == 204
    shown = demo.get("/messages/").text
    assert_harmless(shown)
    assert 'href="https://desk.test/a?b=1&amp;c=2"' in shown
    assert "javascript:" not in shown


def test_every_response_has_the_policy_and_no_path_leaves_the_folder(demo):
    for path in ("/", "/inbox/", "/programs.json", "/assets/refresh.js", "/no"):
        headers = demo.get(path).headers
        assert headers["Content-Security-Policy"] == POLICY, path
    for path in ("/inbox/%2e%2e%2fdiscord.jsonl/", "/assets/..%2fweb.py"):
        request = requests.Request("GET", demo.url).prepare()
        request.url = demo.url + path
        assert requests.Session().send(request, timeout=SECONDS).status_code == 404, (
            path
        )
    assert (
        demo.get("/inbox/", headers={"Host": "rebound.attacker.example"}).status_code
        == 400
    )
