"""The stand-in speaks Discord's bot API: who may post where, what components may be, what commands are."""

from typing import Any

import pytest
import requests

from common.demo_discord import APP_ID, APPROVALS, GUILD_ID, SUPPORT
from tests.integration.demo.running import Demo

BUTTON = {"type": 2, "style": 3, "label": "Approve", "custom_id": "cs:approve"}
LINK = {"type": 2, "style": 5, "label": "Open", "url": "https://desk.test/q"}
MESSAGES = f"/channels/{SUPPORT.id}/messages"


def row(*buttons: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": 1, "components": list(buttons)}]


@pytest.fixture
def bot(own_demo: Demo) -> Demo:
    """A demo with limits that no other test has used up."""
    return own_demo.start()


def test_bot_posts_edits_and_deletes_its_own_message_with_buttons(bot: Demo) -> None:
    made = bot.bot("POST", MESSAGES, {"content": "one", "components": row(BUTTON, LINK)})
    message = made.json()
    assert made.status_code == 200
    assert (message["channel_id"], message["author"]["id"]) == (SUPPORT.id, APP_ID)
    assert message["components"][0]["components"] == [BUTTON, LINK]
    edited = bot.bot("PATCH", f"{MESSAGES}/{message['id']}", {"content": "two"}).json()
    assert (edited["content"], edited["components"]) == ("two", message["components"])
    assert bot.bot("GET", MESSAGES).json() == [edited]
    assert bot.bot("DELETE", f"{MESSAGES}/{message['id']}").status_code == 204
    assert bot.bot("GET", f"{MESSAGES}/{message['id']}").json()["code"] == 10008


@pytest.mark.parametrize(
    ("path", "token", "status", "code"),
    [
        (MESSAGES, "wrong", 401, 0),
        ("/channels/4711/messages", None, 404, 10003),
        (f"{MESSAGES}/4711", None, 404, 10008),
        ("/applications/4711/commands", None, 404, 10002),
        (f"/applications/{APP_ID}/guilds/4711/commands", None, 403, 50001),
        (f"/applications/{APP_ID}/commands", "wrong", 401, 0),
    ],
)
def test_wrong_token_channel_message_and_application_are_refused(
    demo: Demo, path: str, token: str | None, status: int, code: int
) -> None:
    answer = demo.bot("PUT" if "commands" in path else "POST", path, {"content": "x"}, token=token)
    if path.endswith("4711"):
        answer = demo.bot("PATCH", path, {"content": "x"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_bot_may_not_edit_what_a_webhook_wrote(demo: Demo) -> None:
    posted = requests.post(demo.new_webhook(), json={"content": "x"}, params={"wait": "true"}, timeout=5).json()
    answer = demo.bot("PATCH", f"/channels/{APPROVALS.id}/messages/{posted['id']}", {"content": "y"})
    assert (answer.status_code, answer.json()["code"]) == (403, 50005)


@pytest.mark.parametrize(
    ("components", "place"),
    [
        ({}, "components"),
        (row() * 6, "components"),
        ([{"type": 2}], "components.0.type"),
        (row(), "components.0.components"),
        (row(*[LINK] * 6), "components.0.components"),
        (row({**BUTTON, "style": 9}), "components.0.components.0.style"),
        (row({**BUTTON, "label": "x" * 81}), "components.0.components.0.label"),
        (row({**BUTTON, "custom_id": "x" * 101}), "components.0.components.0.custom_id"),
        (row(BUTTON, BUTTON), "components.0.components.1.custom_id"),
        (row({**LINK, "url": "javascript:alert(1)"}), "components.0.components.0.url"),
        (row({**LINK, "url": f"https://{'x' * 512}"}), "components.0.components.0.url"),
        (row({**LINK, "custom_id": "x"}), "components.0.components.0.custom_id"),
    ],
)
def test_components_discord_would_refuse_are_named_in_the_tree(bot: Demo, components: Any, place: str) -> None:
    answer = bot.bot("POST", MESSAGES, {"content": "x", "components": components}).json()
    assert answer["code"] == 50035
    node = answer["errors"]
    for step in place.split("."):
        node = node[step]
    assert node["_errors"]


COMMAND = {"type": 1, "name": "pending", "description": "List what waits"}
OPTION = {"type": 3, "name": "to", "description": "Whom", "required": True}


def test_commands_replace_each_other_and_survive_a_restart(bot: Demo) -> None:
    path = f"/applications/{APP_ID}/guilds/{GUILD_ID}/commands"
    assert bot.bot("PUT", path, [COMMAND, {**COMMAND, "name": "reply"}]).status_code == 200
    (kept,) = bot.bot("PUT", path, [{**COMMAND, "options": [OPTION]}]).json()
    assert (kept["name"], kept["id"].isdigit()) == ("pending", True)
    bot.stop()
    assert bot.start().bot("GET", path).json() == [kept]


@pytest.mark.parametrize(
    ("commands", "place"),
    [
        ({"name": "x"}, "_errors"),
        ([{**COMMAND, "name": "Pending"}], "0.name"),
        ([{**COMMAND, "name": "two words"}], "0.name"),
        ([{**COMMAND, "description": ""}], "0.description"),
        ([COMMAND, COMMAND], "1.name"),
        ([{**COMMAND, "options": [{**OPTION, "required": False}, OPTION]}], "0.options"),
        ([{**COMMAND, "options": [{**OPTION, "type": 1}]}], "0.options.0.type"),
    ],
)
def test_commands_discord_would_refuse_are_named_in_the_tree(demo: Demo, commands: Any, place: str) -> None:
    before = demo.bot("GET", f"/applications/{APP_ID}/commands").json()
    answer = demo.bot("PUT", f"/applications/{APP_ID}/commands", commands)
    assert (answer.status_code, answer.json()["code"]) == (400, 50035)
    node = answer.json()["errors"]
    for step in place.split("."):
        node = node[step]
    assert node
    assert demo.bot("GET", f"/applications/{APP_ID}/commands").json() == before
