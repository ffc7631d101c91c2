"""The stand-in plays Discord's side of interactions: signed, three seconds, only
answers that Discord takes.
"""

import json

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from common.demo import ANA, APP_ID, APPROVALS, BEN, SUPPORT
from demo.discord import interactions
from tests.integration.demo.running import SECONDS, Demo, ask
from tests.programs import program

BUTTON = {"type": 2, "style": 4, "label": "Reject", "custom_id": "cs:reject"}
FIELD = {"type": 4, "custom_id": "reason", "style": 2, "max_length": 500}
FORM = {
    "custom_id": "why",
    "title": "Reject",
    "components": [{"type": 18, "label": "Why?", "component": FIELD}],
}
DONE = {"type": 4, "data": {"content": "Done.", "flags": 64}}
DEFERRED = {"type": 5, "data": {"flags": 64}}
OPTION = {"type": 3, "name": "body", "description": "What", "required": True}


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
    for post in application.posts:
        signed = post.headers["x-signature-timestamp"].encode() + post.body
        key.verify(bytes.fromhex(post.headers["x-signature-ed25519"]), signed)
        assert post.path == "/discord/interactions/"


def will_answer(application, answer, status=200):
    application.status = status
    application.body = json.dumps(answer).encode()


def card(demo):
    payload = {"content": "card", "components": [{"type": 1, "components": [BUTTON]}]}
    return str(
        demo.bot("POST", f"/channels/{APPROVALS.id}/messages", payload).json()["id"]
    )


def press(demo, message):
    return demo.play(
        "press",
        **{"as": ANA.username, "message": message, "custom_id": BUTTON["custom_id"]},
    )


def shown(demo, who=ANA, channel="approvals"):
    return demo.get("/messages/", params={"as": who.username, "channel": channel}).text


def test_press_is_signed_and_only_the_presser_sees_the_response(standin, application):
    message = card(standin)
    assert press(standin, message).json() == {"type": 4, "failed": ""}
    came = application.posts[0].said
    assert came["type"] == 3
    assert came["data"]["custom_id"] == "cs:reject"
    assert came["message"]["id"] == message
    assert came["member"]["user"]["id"] == ANA.id
    assert came["channel"]["name"] == "approvals"
    assert "Done." in shown(standin)
    assert "Done." not in shown(standin, BEN)
    reply = shown(standin).partition('data-dismiss="')[2].partition('"')[0]
    for who, is_still_shown in ((BEN, True), (ANA, False)):
        standin.play("dismiss", **{"as": who.username, "reply": reply})
        assert ("Done." in shown(standin)) is is_still_shown
    # A removed button cannot be pressed.
    standin.bot(
        "PATCH", f"/channels/{APPROVALS.id}/messages/{message}", {"components": []}
    )
    answer = press(standin, message)
    assert answer.status_code == 400
    assert "not there any more" in answer.json()["message"]
    assert len(application.posts) == 1


def test_form_is_requested_and_submitted_with_the_typed_text(standin, application):
    message = card(standin)
    will_answer(application, {"type": 9, "data": FORM})
    response = press(standin, message).json()
    assert 'data-form="why"' in response["form"]
    assert 'maxlength="500"' in response["form"]
    will_answer(application, DEFERRED)
    asked = {
        "as": ANA.username,
        "message": message,
        "custom_id": "why",
        "values": {"reason": "<b>Wrong</b> amount"},
    }
    assert standin.play("submit", **asked).json()["type"] == 5
    sent = application.posts[-1].said
    assert sent["type"] == 5
    assert sent["data"]["custom_id"] == "why"
    assert sent["data"]["components"][0]["component"]["value"] == "<b>Wrong</b> amount"
    assert "is thinking" in shown(standin)
    # A form cannot be the response to a form.
    will_answer(application, {"type": 9, "data": FORM})
    assert standin.play("submit", **asked).json()["failed"]


def test_deferred_interaction_is_answered_by_its_token(standin, application):
    def original(token, content):
        path = f"{standin.url}/api/v10/webhooks/{APP_ID}/{token}/messages/@original"
        return ask("PATCH", path, json={"content": content})

    assert original("no-such-token", "x").json()["code"] == 10015
    will_answer(application, DEFERRED)
    command = {
        "type": 1,
        "name": "reply",
        "description": "d",
        "options": [{**OPTION, "max_length": 5}],
    }
    assert (
        standin.bot("PUT", f"/applications/{APP_ID}/commands", [command]).status_code
        == 200
    )
    asked = {"as": ANA.username, "channel": "support", "name": "reply"}
    assert (
        standin.play("command", **asked, values={}).json()["message"]
        == "body is required."
    )
    assert (
        "at most"
        in standin.play("command", **asked, values={"body": "123456"}).json()["message"]
    )
    assert application.posts == []
    assert standin.play("command", **asked, values={"body": "12345"}).json() == {
        "type": 5,
        "failed": "",
    }
    came = application.posts[-1].said
    assert came["type"] == 2
    assert came["data"]["name"] == "reply"
    assert came["channel_id"] == SUPPORT.id
    assert came["data"]["options"] == [{"name": "body", "type": 3, "value": "12345"}]
    assert original(came["token"], "").json()["code"] == 50006
    assert original(came["token"], "x" * 2001).json()["code"] == 50035
    assert original(came["token"], "**Held** <script>").status_code == 200
    assert "<strong>Held</strong> &lt;script&gt;" in shown(standin, channel="support")
    journal = (standin.data_dir / "discord.jsonl").read_text()
    assert came["token"] not in journal
    assert standin.application["DISCORD_BOT_TOKEN"] not in journal


def test_late_or_invalid_response_fails(standin, application, monkeypatch):
    message = card(standin)
    old_form = {**FORM, "components": [{"type": 1, "components": [FIELD]}]}
    for status, answer in (
        (401, {"type": 4, "data": {"content": "x"}}),
        (200, []),
        (200, {"type": 99}),
        *(
            (200, {"type": 4, "data": {"content": content}})
            for content in ("", "x" * 2001)
        ),
        *(
            (200, {"type": 9, "data": form})
            for form in ({**FORM, "title": "x" * 46}, {**FORM, "components": []})
        ),
        (200, {"type": 9, "data": old_form}),
    ):
        will_answer(application, answer, status)
        assert press(standin, message).json()["failed"], answer
    assert "The application did not respond." in shown(standin)
    limits = []

    def never(*_, timeout, **__):
        limits.append(timeout)
        raise requests.Timeout

    monkeypatch.setattr(requests.Session, "post", never)
    assert press(standin, message).json()["failed"] == "no answer within three seconds"
    assert limits == [interactions.ANSWER_SECONDS]
    lines = (standin.data_dir / "discord.jsonl").read_text().splitlines()
    entry = [json.loads(line) for line in lines if "INTERACTION" in line][-1]
    assert entry["status"] == 0
    assert entry["user_id"] == ANA.id


def test_page_of_another_origin_cannot_press_and_invalid_input_is_400(
    standin, application
):
    address = f"{standin.url}/play/press"
    body = json.dumps(
        {"as": ANA.username, "message": card(standin), "custom_id": "cs:reject"}
    )
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = ask("POST", address, data=body, headers={"Content-Type": kind})
        assert answer.status_code == 415
    # The CORS preflight of a browser is not allowed.
    asked = ask("OPTIONS", address, headers={"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in asked.headers
    nonsense = (
        {},
        {"as": ANA.username},
        {"as": 7, "message": [], "custom_id": {}},
    )
    for one in nonsense:
        for act in ("press", "submit", "command", "dismiss", "nothing"):
            assert standin.play(act, **one).status_code == 400, (act, one)
    assert ask("POST", address, json=[]).status_code == 400
    assert application.posts == []
