"""The stand-in plays Discord's side of interactions: signed, three seconds, only answers that Discord takes."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from common.demo_discord import ANA, APP_ID, APPROVALS, BEN, SUPPORT
from tests.integration.demo.running import Demo
from tests.serving import Handler, serving

BUTTON = {"type": 2, "style": 4, "label": "Reject", "custom_id": "cs:reject"}
FIELD = {"type": 4, "custom_id": "reason", "style": 2, "max_length": 500}
FORM = {"custom_id": "why", "title": "Reject", "components": [{"type": 18, "label": "Why?", "component": FIELD}]}
DEFERRED = {"type": 5, "data": {"flags": 64}}


class Endpoint:
    """An application's endpoint that checks signatures, keeps what came, and answers `next`."""

    def __init__(self) -> None:
        self.came: list[dict[str, Any]] = []
        self.next: Any = {"type": 4, "data": {"content": "Done.", "flags": 64}}
        self.status = 200
        self.slow = threading.Event()
        self.may_answer = threading.Event()
        self.public_key = ""

    def verify(self, headers: Any, body: bytes) -> None:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.public_key))
        signed = headers["X-Signature-Timestamp"].encode() + body
        key.verify(bytes.fromhex(headers["X-Signature-Ed25519"]), signed)


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
def standin(tmp_path: Path, endpoint: Endpoint) -> Iterator[Demo]:
    class Application(Handler):
        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            endpoint.verify(self.headers, body)
            assert self.path == "/discord/interactions/"
            endpoint.came.append(json.loads(body))
            if endpoint.slow.is_set():
                endpoint.may_answer.wait(30)
            raw = json.dumps(endpoint.next).encode()
            self.send_response(endpoint.status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    with serving(Application) as url:
        demo = Demo(tmp_path, environment={"PUBLIC_URL": url})
        demo.start()
        endpoint.public_key = demo.application["DISCORD_PUBLIC_KEY"]
        yield demo
        endpoint.may_answer.set()
        demo.stop()


def card(demo: Demo) -> str:
    payload = {"content": "card", "components": [{"type": 1, "components": [BUTTON]}]}
    return str(demo.bot("POST", f"/channels/{APPROVALS.id}/messages", payload).json()["id"])


def press(demo: Demo, message: str, **more: str) -> requests.Response:
    asked = {"as": ANA.username, "message": message, "custom_id": BUTTON["custom_id"], **more}
    return demo.play("press", **asked)


def shown(demo: Demo, who: Any = ANA, channel: str = "approvals") -> str:
    return demo.get("/messages/", params={"as": who.username, "channel": channel}).text


def original(demo: Demo, token: str, content: str, method: str = "PATCH") -> requests.Response:
    path = f"{demo.url}/api/v10/webhooks/{APP_ID}/{token}/messages/@original"
    return requests.request(method, path, json={"content": content}, timeout=5)


def test_press_is_signed_and_its_answer_is_seen_by_whoever_pressed_alone(standin: Demo, endpoint: Endpoint) -> None:
    message = card(standin)
    assert press(standin, message).json() == {"type": 4, "failed": ""}
    (came,) = endpoint.came
    assert (came["type"], came["data"]["custom_id"], came["message"]["id"]) == (3, "cs:reject", message)
    assert came["member"]["user"]["id"] == ANA.id
    assert came["channel"]["name"] == "approvals"
    assert "Done." in shown(standin)
    assert "Done." not in shown(standin, BEN)
    reply = shown(standin).partition('data-dismiss="')[2].partition('"')[0]
    standin.play("dismiss", **{"as": BEN.username, "reply": reply})
    assert "Done." in shown(standin)
    standin.play("dismiss", **{"as": ANA.username, "reply": reply})
    assert "Done." not in shown(standin)


def test_form_is_asked_for_filled_in_and_sent_with_what_was_typed(standin: Demo, endpoint: Endpoint) -> None:
    message = card(standin)
    endpoint.next = {"type": 9, "data": FORM}
    told = press(standin, message).json()
    assert 'data-form="why"' in told["form"]
    assert 'maxlength="500"' in told["form"]
    endpoint.next = DEFERRED
    asked = {"as": ANA.username, "message": message, "custom_id": "why", "values": {"reason": "<b>Wrong</b> amount"}}
    assert standin.play("submit", **asked).json()["type"] == 5
    sent = endpoint.came[-1]
    assert (sent["type"], sent["data"]["custom_id"]) == (5, "why")
    assert sent["data"]["components"][0]["component"]["value"] == "<b>Wrong</b> amount"
    assert "is thinking" in shown(standin)
    # A form answers no form.
    endpoint.next = {"type": 9, "data": FORM}
    assert standin.play("submit", **asked).json()["failed"]


def test_what_was_put_off_is_answered_by_its_token_once_it_was_put_off(standin: Demo, endpoint: Endpoint) -> None:
    assert original(standin, "no-such-token", "x").json()["code"] == 10015
    endpoint.next = DEFERRED
    standin.play("command", **{"as": ANA.username, "channel": "support", "name": "nothing", "values": {}})
    command = {"type": 1, "name": "reply", "description": "d", "options": [{**OPTION, "max_length": 5}]}
    assert standin.bot("PUT", f"/applications/{APP_ID}/commands", [command]).status_code == 200
    asked = {"as": ANA.username, "channel": "support", "name": "reply"}
    assert standin.play("command", **asked, values={}).json()["message"] == "body is required."
    assert "at most" in standin.play("command", **asked, values={"body": "123456"}).json()["message"]
    assert endpoint.came == []
    assert standin.play("command", **asked, values={"body": "12345"}).json() == {"type": 5, "failed": ""}
    came = endpoint.came[-1]
    assert (came["type"], came["data"]["name"], came["channel_id"]) == (2, "reply", SUPPORT.id)
    assert came["data"]["options"] == [{"name": "body", "type": 3, "value": "12345"}]
    assert original(standin, came["token"], "").json()["code"] == 50006
    assert original(standin, came["token"], "x" * 2001).json()["code"] == 50035
    assert original(standin, came["token"], "**Held** <script>").status_code == 200
    assert "<strong>Held</strong> &lt;script&gt;" in shown(standin, channel="support")
    journal = (standin.data_dir / "discord.jsonl").read_text()
    assert came["token"] not in journal
    assert standin.application["DISCORD_BOT_TOKEN"] not in journal


OPTION = {"type": 3, "name": "body", "description": "What", "required": True}


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (401, {"type": 4, "data": {"content": "x"}}),
        (200, []),
        (200, {"type": 4, "data": {"content": ""}}),
        (200, {"type": 4, "data": {"content": "x" * 2001}}),
        (200, {"type": 9, "data": {**FORM, "title": "x" * 46}}),
        (200, {"type": 9, "data": {**FORM, "components": []}}),
        (200, {"type": 9, "data": {**FORM, "components": [{"type": 1, "components": [FIELD]}]}}),
        (200, {"type": 99}),
    ],
)
def test_answer_that_discord_does_not_take_fails(standin: Demo, endpoint: Endpoint, status: int, answer: Any) -> None:
    endpoint.status, endpoint.next = status, answer
    assert press(standin, card(standin)).json()["failed"]
    assert "The application did not respond." in shown(standin)


def test_answer_after_three_seconds_is_none(standin: Demo, endpoint: Endpoint) -> None:
    endpoint.slow.set()
    begun = time.monotonic()
    assert press(standin, card(standin)).json()["failed"] == "no answer within three seconds"
    assert 2.5 < time.monotonic() - begun < 8
    (entry,) = [
        json.loads(line)
        for line in (standin.data_dir / "discord.jsonl").read_text().splitlines()
        if "INTERACTION" in line
    ]
    assert (entry["status"], entry["user_id"]) == (0, ANA.id)


def test_button_that_is_not_there_any_more_is_not_pressed(standin: Demo, endpoint: Endpoint) -> None:
    message = card(standin)
    standin.bot("PATCH", f"/channels/{APPROVALS.id}/messages/{message}", {"components": []})
    answer = press(standin, message)
    assert (answer.status_code, endpoint.came) == (400, [])
    assert "not there any more" in answer.json()["message"]


def test_page_elsewhere_cannot_press(standin: Demo, endpoint: Endpoint) -> None:
    body = json.dumps({"as": ANA.username, "message": card(standin), "custom_id": "cs:reject"})
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = requests.post(f"{standin.url}/play/press", data=body, headers={"Content-Type": kind}, timeout=5)
        assert answer.status_code == 415
    # What a browser asks first, before it sends JSON to another origin, is not answered with leave.
    asked = requests.options(f"{standin.url}/play/press", headers={"Origin": "https://evil.example"}, timeout=5)
    assert "Access-Control-Allow-Origin" not in asked.headers
    assert endpoint.came == []


@pytest.mark.parametrize("asked", [{}, {"as": ANA.username}, {"as": 7, "message": [], "custom_id": {}}])
def test_nonsense_is_400(demo: Demo, asked: dict[str, Any]) -> None:
    for act in ("press", "submit", "command", "dismiss", "nothing"):
        assert demo.play(act, **asked).status_code == 400
    assert requests.post(f"{demo.url}/play/press", json=[], timeout=5).status_code == 400
