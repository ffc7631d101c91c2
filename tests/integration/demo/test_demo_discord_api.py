"""The stand-in for Discord: its API for bots and webhooks as documented, and its side
of interactions, signed and within three seconds.
"""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from common.demo import ANA, APP_ID, APPROVALS, BEN, SUPPORT
from demo.discord import interactions
from tests.integration.demo.running import SECONDS, Demo, ask
from tests.programs import program

BUTTON = {"type": 2, "style": 4, "label": "Reject", "custom_id": "cs:reject"}
OPTION = {"type": 3, "name": "body", "description": "What", "required": True}
COMMAND = {"type": 1, "name": "reply", "description": "d", "options": [OPTION]}
DONE = {"type": 4, "data": {"content": "Done.", "flags": 64}}
DEFERRED = {"type": 5, "data": {"flags": 64}}


def row(*buttons):
    return [{"type": 1, "components": list(buttons)}]


def post(webhook, payload, **query):
    return ask("POST", webhook, json=payload, params=query)


def test_messages_survive_a_kill_and_no_token_is_stored(own_demo):
    webhook = own_demo.new_webhook()
    message = post(webhook, {"content": "one"}, wait="true").json()["id"]
    own_demo.stop()
    journal = own_demo.data_dir / "discord.jsonl"
    assert "a-token_1" not in journal.read_text()
    journal.write_text(journal.read_text() + '\n{"torn')
    before = own_demo.url
    webhook = webhook.replace(before, own_demo.start().url)
    edited = ask("PATCH", f"{webhook}/messages/{message}", json={"content": "two"})
    assert edited.status_code == 200
    assert edited.json()["content"] == "two"


@pytest.fixture
def application():
    """Where interactions are posted to."""
    with program() as one:
        will_answer(one, DONE)
        yield one


@pytest.fixture
def standin(tmp_path, application, monkeypatch):
    """A demo that posts interactions there; in the end all of them must have been
    signed.
    """
    assert interactions.ANSWER_SECONDS == 3
    # An immediate response must not count as late on a busy machine.
    monkeypatch.setattr(interactions, "ANSWER_SECONDS", SECONDS)
    demo = Demo(tmp_path, application.url).start()
    yield demo
    demo.stop()
    key = Ed25519PublicKey.from_public_bytes(
        bytes.fromhex(demo.application["DISCORD_PUBLIC_KEY"])
    )
    for one in application.posts:
        signed = one.headers["x-signature-timestamp"].encode() + one.body
        key.verify(bytes.fromhex(one.headers["x-signature-ed25519"]), signed)
        assert one.path == "/discord/interactions/"


def will_answer(application, answer):
    application.status = 200
    application.body = json.dumps(answer).encode()


def card(demo):
    payload = {"content": "card", "components": row(BUTTON)}
    path = f"/channels/{APPROVALS.id}/messages"
    return str(demo.bot("POST", path, payload).json()["id"])


def press(demo, message):
    asked = {"as": ANA.username, "message": message, "custom_id": BUTTON["custom_id"]}
    return demo.play("press", **asked)


def shown(demo, who=ANA, channel="approvals"):
    return demo.get("/messages/", params={"as": who.username, "channel": channel}).text


def test_press_is_signed_and_only_the_presser_sees_the_response(standin, application):
    message = card(standin)
    assert press(standin, message).json() == {"failed": False}
    came = application.posts[0].said
    assert came["type"] == 3
    assert came["data"]["custom_id"] == "cs:reject"
    assert came["message"]["id"] == message
    assert came["member"]["user"]["id"] == ANA.id
    assert "Done." in shown(standin)
    assert "Done." not in shown(standin, BEN)
    # A removed button cannot be pressed.
    path = f"/channels/{APPROVALS.id}/messages/{message}"
    standin.bot("PATCH", path, {"components": []})
    assert press(standin, message).status_code == 400
    assert len(application.posts) == 1


def test_deferred_answer_to_a_command_is_given_by_its_token(standin, application):
    def original(token, content):
        path = f"{standin.url}/api/v10/webhooks/{APP_ID}/{token}/messages/@original"
        return ask("PATCH", path, json={"content": content})

    assert original("no-such-token", "x").json()["code"] == 10015
    will_answer(application, DEFERRED)
    standin.bot("PUT", f"/applications/{APP_ID}/commands", [COMMAND])
    asked = {"as": ANA.username, "channel": "support", "name": "reply"}
    answer = standin.play("command", **asked, values={"body": "12345"})
    assert answer.json() == {"failed": False}
    came = application.posts[-1].said
    assert came["channel_id"] == SUPPORT.id
    assert came["data"]["options"] == [{"name": "body", "type": 3, "value": "12345"}]
    assert original(came["token"], "**Held** <script>").status_code == 200
    assert "<strong>Held</strong> &lt;script&gt;" in shown(standin, channel="support")
    journal = (standin.data_dir / "discord.jsonl").read_text()
    assert came["token"] not in journal
    assert standin.application["DISCORD_BOT_TOKEN"] not in journal


def test_page_of_another_origin_cannot_press_and_invalid_input_is_400(
    standin, application
):
    address = f"{standin.url}/play/press"
    body = json.dumps(
        {"as": ANA.username, "message": card(standin), "custom_id": "cs:reject"}
    )
    answer = ask("POST", address, data=body, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    # The CORS preflight of a browser is not allowed.
    asked = ask("OPTIONS", address, headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in asked.headers
    for one in ({}, {"as": 7, "message": [], "custom_id": {}}):
        for act in ("press", "submit", "command", "nothing"):
            assert standin.play(act, **one).status_code == 400, (act, one)
    assert application.posts == []
