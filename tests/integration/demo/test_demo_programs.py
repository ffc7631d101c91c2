"""The stand-ins for programs: Inngest's event API, and a receiver that checks signatures."""

import base64
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from standardwebhooks import Webhook

from common.demo_programs import EVENT_KEY, HOOK_PATH
from tests.integration.demo.running import Demo

EVENT = {"name": "multimail/email.decided", "id": "evt_1", "data": {"decision": "approved"}, "ts": 1_700_000_000_000}
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


def post(demo: Demo, payload: Any) -> requests.Response:
    return requests.post(f"{demo.url}/e/{EVENT_KEY}", json=payload, timeout=5)


def told(demo: Demo) -> list[dict[str, Any]]:
    return demo.get("/programs.json").json()["events"]  # type: ignore[no-any-return]


def hook(demo: Demo, body: bytes, secret: str = SECRET, *, moment: float | None = None) -> int:
    at = datetime.fromtimestamp(moment or time.time(), UTC)
    headers = {
        "webhook-id": "evt_2",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("evt_2", at, body.decode()),
    }
    return requests.post(demo.url + HOOK_PATH, data=body, headers=headers, timeout=5).status_code


def test_events_are_taken_once_each_and_survive_a_kill(own_demo: Demo) -> None:
    own_demo.start()
    assert post(own_demo, EVENT).json() == {"ids": ["evt_1"], "status": 200}
    assert post(own_demo, [EVENT, {**EVENT, "id": "evt_3"}]).json()["ids"] == ["evt_1", "evt_3"]
    assert [(one["id"], one["times"]) for one in told(own_demo)] == [("evt_3", 1), ("evt_1", 2)]
    own_demo.stop(9)
    with (own_demo.data_dir / "programs.jsonl").open("a") as journal:
        journal.write('\n{"torn')
    assert [one["id"] for one in told(own_demo.start())] == ["evt_3", "evt_1"]
    assert "multimail/email.decided" in own_demo.get("/programs/").text


@pytest.mark.parametrize("event", [7, {}, {**EVENT, "name": ""}, {**EVENT, "data": []}, {**EVENT, "ts": "now"}])
def test_what_inngest_would_refuse_is_refused(demo: Demo, event: Any) -> None:
    before = told(demo)
    answer = post(demo, event)
    assert (answer.status_code, answer.json()["status"]) == (400, 400)
    assert told(demo) == before


def test_only_what_is_signed_with_the_secret_and_new_is_taken(own_demo: Demo) -> None:
    (own_demo.data_dir / "credentials.env").write_text(f"HOOK_SECRET={SECRET}\n")
    own_demo.start()
    body = json.dumps({"type": "email.held", "data": {"subject": "<script>alert(1)</script>"}}).encode()
    other = "whsec_" + base64.b64encode(b"x" * 32).decode()
    assert hook(own_demo, body, other) == 400
    assert hook(own_demo, body, moment=time.time() - 600) == 400
    assert requests.post(own_demo.url + HOOK_PATH, data=body, timeout=5).status_code == 400
    assert told(own_demo) == []
    assert hook(own_demo, body) == 204
    assert [one["name"] for one in told(own_demo)] == ["email.held"]
    assert "<script>alert" not in own_demo.get("/programs/").text
