"""The stand-in speaks Discord's bot API: who may post where, what components may be,
what commands are.
"""

from common.demo import APP_ID, APPROVALS, GUILD_ID, SUPPORT
from demo.discord.limits import find_command_errors, find_errors
from tests.integration.demo.running import ask

BUTTON = {"type": 2, "style": 3, "label": "Approve", "custom_id": "cs:approve"}
LINK = {"type": 2, "style": 5, "label": "Open", "url": "https://desk.test/q"}
MESSAGES = f"/channels/{SUPPORT.id}/messages"


def row(*buttons):
    return [{"type": 1, "components": list(buttons)}]


def node_at(tree, path):
    for step in path.split("."):
        tree = tree.get(step, {})
    return tree


def test_bot_posts_edits_and_deletes_its_own_message_with_buttons(own_demo):
    made = own_demo.bot(
        "POST", MESSAGES, {"content": "one", "components": row(BUTTON, LINK)}
    )
    message = made.json()
    assert made.status_code == 200
    assert message["channel_id"] == SUPPORT.id
    assert message["author"]["id"] == APP_ID
    assert message["components"][0]["components"] == [BUTTON, LINK]
    path = f"{MESSAGES}/{message['id']}"
    edited = own_demo.bot("PATCH", path, {"content": "two"}).json()
    assert edited["content"] == "two"
    assert edited["components"] == message["components"]
    assert own_demo.bot("GET", MESSAGES).json() == [edited]
    assert own_demo.bot("DELETE", path).status_code == 204
    assert own_demo.bot("GET", path).json()["code"] == 10008
    payload = {"content": "x", "components": row(BUTTON, BUTTON)}
    refused = own_demo.bot("POST", f"/channels/{APPROVALS.id}/messages", payload).json()
    assert refused["code"] == 50035
    assert node_at(refused["errors"], "components.0.components.1.custom_id._errors")


def test_wrong_token_channel_message_and_application_are_refused(demo):
    commands = f"/applications/{APP_ID}/commands"
    for method, path, token, status, code in (
        ("POST", MESSAGES, "wrong", 401, 0),
        ("PUT", commands, "wrong", 401, 0),
        ("POST", "/channels/4711/messages", None, 404, 10003),
        ("PATCH", f"{MESSAGES}/4711", None, 404, 10008),
        ("PUT", "/applications/4711/commands", None, 404, 10002),
        ("PUT", f"/applications/{APP_ID}/guilds/4711/commands", None, 403, 50001),
    ):
        answer = demo.bot(method, path, {"content": "x"}, token=token)
        assert answer.status_code == status, path
        assert answer.json()["code"] == code, path
    posted = ask(
        "POST",
        demo.new_webhook(),
        json={"content": "x"},
        params={"wait": "true"},
    ).json()
    answer = demo.bot(
        "PATCH", f"/channels/{APPROVALS.id}/messages/{posted['id']}", {"content": "y"}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, 50005), (
        "written by a webhook"
    )


def test_components_discord_would_refuse_are_named_in_the_tree():
    within = "components.0.components.0"
    for components, path in (
        ({}, "components"),
        (row() * 6, "components"),
        ([{"type": 2}], "components.0.type"),
        (row(), "components.0.components"),
        (row(*[LINK] * 6), "components.0.components"),
        (row({**BUTTON, "style": 9}), f"{within}.style"),
        (row({**BUTTON, "label": "x" * 81}), f"{within}.label"),
        (row({**BUTTON, "custom_id": "x" * 101}), f"{within}.custom_id"),
        (row(BUTTON, BUTTON), "components.0.components.1.custom_id"),
        (row({**LINK, "url": "javascript:alert(1)"}), f"{within}.url"),
        (row({**LINK, "url": f"https://{'x' * 512}"}), f"{within}.url"),
        (row({**LINK, "custom_id": "x"}), f"{within}.custom_id"),
    ):
        assert node_at(find_errors({"components": components}), f"{path}._errors"), (
            components,
            path,
        )
    assert find_errors({"components": row(BUTTON, LINK)}) == {}


COMMAND = {"type": 1, "name": "pending", "description": "List what waits"}
OPTION = {"type": 3, "name": "to", "description": "Whom", "required": True}


def test_commands_replace_each_other_and_survive_a_restart(own_demo):
    path = f"/applications/{APP_ID}/guilds/{GUILD_ID}/commands"
    assert (
        own_demo.bot("PUT", path, [COMMAND, {**COMMAND, "name": "reply"}]).status_code
        == 200
    )
    (stored,) = own_demo.bot("PUT", path, [{**COMMAND, "options": [OPTION]}]).json()
    assert stored["name"] == "pending"
    assert stored["id"].isdigit()
    answer = own_demo.bot("PUT", path, [{**COMMAND, "name": "Pending"}])
    assert answer.status_code == 400
    assert answer.json()["code"] == 50035
    assert node_at(answer.json()["errors"], "0.name._errors")
    own_demo.stop()
    assert own_demo.start().bot("GET", path).json() == [stored]


def test_commands_discord_would_refuse_are_named_in_the_tree():
    for commands, path in (
        ({"name": "x"}, "_errors"),
        ([{**COMMAND, "name": "Pending"}], "0.name"),
        ([COMMAND, COMMAND], "1.name"),
        ([{**COMMAND, "name": "two words"}], "0.name"),
        ([{**COMMAND, "description": ""}], "0.description"),
        (
            [{**COMMAND, "options": [{**OPTION, "required": False}, OPTION]}],
            "0.options",
        ),
        ([{**COMMAND, "options": [{**OPTION, "type": 1}]}], "0.options.0.type"),
    ):
        assert node_at(find_command_errors(commands), path), (commands, path)
