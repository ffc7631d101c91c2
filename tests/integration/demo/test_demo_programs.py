"""The stand-ins for programs: Inngest's event API, and a receiver that checks
signatures.
"""

import base64
import json
import time
from datetime import UTC, datetime

from standardwebhooks import Webhook

from common.demo import EVENT_KEY, HOOK_PATH
from tests.integration.demo.running import ask

EVENT = {
    "name": "multimail/email.decided",
    "id": "evt_1",
    "data": {"decision": "approved"},
    "ts": 1_700_000_000_000,
}
SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
ANOTHER = "whsec_" + base64.b64encode(b"x" * 32).decode()


def post(demo, payload):
    return ask("POST", f"{demo.url}/e/{EVENT_KEY}", json=payload)


def received_events(demo):
    return demo.get("/programs.json").json()["events"]


def hook(demo, body, secret=SECRET, *, moment=None):
    at = datetime.fromtimestamp(moment or time.time(), UTC)
    headers = {
        "webhook-id": "evt_2",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("evt_2", at, body.decode()),
    }
    return ask("POST", demo.url + HOOK_PATH, data=body, headers=headers).status_code


def test_events_are_stored_once_each_and_survive_a_restart(own_demo):
    assert post(own_demo, EVENT).json() == {"ids": ["evt_1"], "status": 200}
    assert post(own_demo, [EVENT, {**EVENT, "id": "evt_3"}]).json()["ids"] == [
        "evt_1",
        "evt_3",
    ]
    for event in (
        7,
        {},
        {**EVENT, "name": ""},
        {**EVENT, "data": []},
        {**EVENT, "ts": "now"},
    ):
        answer = post(own_demo, event)
        assert answer.status_code == 400, event
        assert answer.json()["status"] == 400, event
    assert [(one["id"], one["times"]) for one in received_events(own_demo)] == [
        ("evt_3", 1),
        ("evt_1", 2),
    ]
    own_demo.stop()
    with (own_demo.data_dir / "programs.jsonl").open("a") as journal:
        journal.write('\n{"torn')
    assert [one["id"] for one in received_events(own_demo.start())] == [
        "evt_3",
        "evt_1",
    ]
    assert "multimail/email.decided" in own_demo.get("/programs/").text


def test_only_recent_events_with_a_valid_signature_are_accepted(own_demo):
    (own_demo.data_dir / "credentials.env").write_text(f"HOOK_SECRET={SECRET}\n")
    body = json.dumps(
        {"type": "email.held", "data": {"subject": "<script>alert(1)</script>"}}
    ).encode()
    assert hook(own_demo, body, ANOTHER) == 400
    assert hook(own_demo, body, moment=time.time() - 600) == 400
    assert ask("POST", own_demo.url + HOOK_PATH, data=body).status_code == 400
    assert received_events(own_demo) == []
    assert hook(own_demo, body) == 204
    assert [one["name"] for one in received_events(own_demo)] == ["email.held"]
    assert "<script>alert" not in own_demo.get("/programs/").text
