"""Buttons, forms and slash commands: what the page posts, and what the desk answers to
each within three seconds, signed as Discord signs it.
"""

import json
import time
from typing import Any

import requests

from common.demo import CHANNELS, GUILD_ID, MEMBERS, GuildChannel, Member
from demo.discord.guild import Guild, Reply, channel_with_id
from demo.discord.limits import BUTTON, LABEL, STRING, TEXT_INPUT, Form, find_errors
from demo.discord.page import MAX_VALUE, form_dialog
from demo.web import Answer, Request, json_answer

# Where the page posts what a member does.
PATH = "/play/"
COMMAND = 2
COMPONENT = 3
FORM = 5
ANSWER_SECONDS = 3.0


class NotPlayed(Exception):
    """Discord's client would not send this; the text says why."""


def play(guild: Guild, request: Request, endpoint: str) -> Answer:
    """Let whoever looks at the page act as one of the members; 400 with words where
    Discord's client would not have.
    """
    if request.method != "POST" or not request.is_json:
        return json_answer({"message": "Send application/json."}, 415)
    try:
        asked = json.loads(request.body)
        member = member_of(asked["as"])
        match request.path.removeprefix(PATH):
            case "press":
                kind, reply, about = _press(guild, member, asked)
            case "submit":
                kind, reply, about = _submit(guild, member, asked)
            case "command":
                kind, reply, about = _command(guild, member, asked)
            case act:
                raise NotPlayed(f"Nobody can {act}.")
    except (ValueError, KeyError, TypeError, AttributeError):
        return json_answer({"message": "This is not what the page sends."}, 400)
    except NotPlayed as error:
        return json_answer({"message": str(error)}, 400)
    begun = time.monotonic()
    status, answer = _ask(guild, endpoint, kind, reply, about)
    result = _read(kind, reply, status, answer)
    if result["failed"]:
        reply.state = "failed"
    guild.touch()
    guild.journal(
        method="INTERACTION",
        interaction=reply.id,
        type=kind,
        user_id=member.id,
        status=status,
        answered=result["type"],
        failed=result["failed"],
        ms=round((time.monotonic() - begun) * 1000),
    )
    if form := result.get("form"):
        result["form"] = form_dialog(form, about["message"]["id"])
    return json_answer(result)


def _press(
    guild: Guild, member: Member, asked: dict[str, Any]
) -> tuple[int, Reply, dict[str, Any]]:
    """Press a button of a message."""
    custom_id = str(asked["custom_id"])
    message = guild.messages.get(str(asked["message"]))
    rows = message.content["components"] if message else []
    buttons = (one for row in rows for one in row["components"])
    pressed = next((b for b in buttons if b.get("custom_id") == custom_id), None)
    if message is None or pressed is None:
        raise NotPlayed("This button is not there any more: the card has changed.")
    channel = channel_with_id(message.content["channel_id"])
    reply = guild.begin_reply(member, channel, f"pressed {pressed['label']}")
    data = {"component_type": BUTTON, "custom_id": custom_id, "id": 1}
    return COMPONENT, reply, {"message": message.content, "data": data}


def _submit(
    guild: Guild, member: Member, asked: dict[str, Any]
) -> tuple[int, Reply, dict[str, Any]]:
    """Send a form that a press on a message opened."""
    custom_id = str(asked["custom_id"])
    message = guild.messages.get(str(asked["message"]))
    if message is None:
        raise NotPlayed("The card is not there any more.")
    fields = []
    for name, value in asked["values"].items():
        text = {"type": TEXT_INPUT, "custom_id": name, "value": str(value)}
        fields.append({"type": LABEL, "component": text})
    channel = channel_with_id(message.content["channel_id"])
    reply = guild.begin_reply(member, channel, "sent a form")
    data = {"custom_id": custom_id, "components": fields}
    return FORM, reply, {"message": message.content, "data": data}


def _command(
    guild: Guild, member: Member, asked: dict[str, Any]
) -> tuple[int, Reply, dict[str, Any]]:
    """Use a slash command, filled in as it is registered."""
    name = asked["name"]
    command = next((one for one in guild.commands() if one["name"] == name), None)
    if command is None:
        raise NotPlayed(f"No command /{name} is registered.")
    options = []
    for option in command.get("options") or []:
        value = str(asked["values"].get(option["name"], "")).strip()
        if not value and option.get("required"):
            raise NotPlayed(f"{option['name']} is required.")
        most = option.get("max_length", MAX_VALUE)
        if len(value) > most:
            raise NotPlayed(f"{option['name']} takes {most} characters at most.")
        if value:
            options.append({"name": option["name"], "type": STRING, "value": value})
    reply = guild.begin_reply(member, channel_named(asked["channel"]), f"used /{name}")
    data = {"id": command["id"], "name": name, "type": 1, "options": options}
    return COMMAND, reply, {"data": data}


def _ask(
    guild: Guild, endpoint: str, kind: int, reply: Reply, about: dict[str, Any]
) -> tuple[int, Any]:
    """Post an interaction, and return status and JSON of the answer; 0 without one."""
    member = reply.member
    channel = reply.channel
    interaction = {
        "id": reply.id,
        "application_id": guild.application.id,
        "type": kind,
        "token": reply.token,
        "guild_id": GUILD_ID,
        "channel_id": channel.id,
        "channel": {"id": channel.id, "name": channel.name},
        "member": {
            "user": {
                "id": member.id,
                "username": member.username,
                "global_name": member.name,
            }
        },
        **about,
    }
    body = json.dumps(interaction).encode()
    timestamp = str(int(time.time()))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Discord-Interactions/1.0 (+https://discord.com)",
        "X-Signature-Timestamp": timestamp,
        "X-Signature-Ed25519": guild.application.key.sign(
            timestamp.encode() + body
        ).hex(),
    }
    status = 0
    try:
        with requests.Session() as session:
            # Proxies are for what is outside.
            session.trust_env = False
            response = session.post(
                endpoint,
                data=body,
                headers=headers,
                timeout=ANSWER_SECONDS,
                allow_redirects=False,
            )
        status = response.status_code
        return status, response.json()
    except requests.RequestException:
        # No answer, or none in JSON.
        return status, None


def _read(kind: int, reply: Reply, status: int, answer: Any) -> dict[str, Any]:
    """Return what the page is told: the answer's type, the form to fill in, or why
    Discord took nothing.
    """
    failed = "its answer is none that Discord takes here"
    if status == 0:
        failed = "no answer within three seconds"
    elif status != 200:
        failed = f"answered {status}"
    elif isinstance(answer, dict):
        data = answer.get("data")
        if not isinstance(data, dict):
            data = {}
        match answer.get("type"):
            case 4 if not find_errors(data) and str(data.get("content") or "").strip():
                reply.state = "shown"
                reply.content = data["content"].strip()
                return {"type": 4, "failed": ""}
            case 5:
                reply.state = "thinking"
                return {"type": 5, "failed": ""}
            case 9 if kind != FORM and not find_errors(data, Form):
                return {"type": 9, "failed": "", "form": data}
    return {"type": 0, "failed": failed}


def member_of(username: str) -> Member:
    """Return the member of a username; whoever is not on the server is the first."""
    return next((one for one in MEMBERS if one.username == username), MEMBERS[0])


def channel_named(name: str) -> GuildChannel:
    """Return the channel of a name; the first where there is none."""
    return next((one for one in CHANNELS if one.name == name), CHANNELS[0])
