"""Buttons, forms and slash commands: takes what a member does on the page, and sends it
to the desk as a signed interaction, which the desk has to answer within three seconds.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

import requests
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from common.demo import CHANNELS, GUILD_ID, MEMBERS, GuildChannel, Member
from demo.discord.guild import Guild, Reply, channel_with_id
from demo.web import fill, is_json

# Discord's types of interactions.
COMMAND = 2
COMPONENT = 3
FORM = 5
# The types of components, and the type of the options of commands.
BUTTON = 2
TEXT_INPUT = 4
LABEL = 18
STRING = 3
ANSWER_SECONDS = 3.0


@dataclass
class Interactions:
    """Takes what members do on the page, and sends it to the desk at `endpoint`."""

    guild: Guild
    endpoint: str

    async def play(self, request: Request) -> Response:
        """Do what somebody did on the page as one of the members. Answer 400 if that is
        not possible any more, for instance because the card has changed.
        """
        if not is_json(request):
            return JSONResponse({"message": "Send application/json."}, 415)
        acts = {"press": _press, "submit": _submit, "command": _command}
        try:
            posted = await request.json()
            member = member_of(posted["as"])
            act = acts[request.path_params["act"]]
            kind, reply, about = act(self.guild, member, posted)
        except (ValueError, KeyError, TypeError, AttributeError):
            return JSONResponse({"message": "This is not there any more."}, 400)
        # In a thread: meanwhile the desk may post here.
        result = await run_in_threadpool(
            _ask, self.guild, self.endpoint, kind, reply, about
        )
        if result["failed"]:
            reply.state = "failed"
        self.guild.touch()
        if form := result.get("form"):
            message_id = about["message"]["id"]
            result["form"] = fill(
                "form.html", id="form-asked", form=form, message_id=message_id
            )
        return JSONResponse(result)


# The type of the interaction, its reply, and those of its fields that depend on the
# type.
Played = tuple[int, Reply, dict[str, Any]]


def _press(guild: Guild, member: Member, posted: dict[str, Any]) -> Played:
    """Press a button of a message."""
    custom_id = str(posted["custom_id"])
    content = guild.messages[str(posted["message"])]
    labels = {
        button.get("custom_id"): button["label"]
        for row in content["components"]
        for button in row["components"]
    }
    channel = channel_with_id(content["channel_id"])
    reply = guild.begin_reply(member, channel, f"pressed {labels[custom_id]}")
    data = {"component_type": BUTTON, "custom_id": custom_id, "id": 1}
    return COMPONENT, reply, {"message": content, "data": data}


def _submit(guild: Guild, member: Member, posted: dict[str, Any]) -> Played:
    """Submit a form that opened after a button was pressed."""
    content = guild.messages[str(posted["message"])]
    fields = []
    for name, value in posted["values"].items():
        text = {"type": TEXT_INPUT, "custom_id": name, "value": str(value)}
        fields.append({"type": LABEL, "component": text})
    data = {"custom_id": str(posted["custom_id"]), "components": fields}
    channel = channel_with_id(content["channel_id"])
    reply = guild.begin_reply(member, channel, "sent a form")
    return FORM, reply, {"message": content, "data": data}


def _command(guild: Guild, member: Member, posted: dict[str, Any]) -> Played:
    """Use a slash command. Lengths were checked by the page's form."""
    name = posted["name"]
    command = {one["name"]: one for one in guild.commands()}[name]
    options = []
    for option in command.get("options") or []:
        if value := str(posted["values"].get(option["name"], "")).strip():
            options.append({"name": option["name"], "type": STRING, "value": value})
    reply = guild.begin_reply(member, channel_named(posted["channel"]), f"used /{name}")
    data = {"id": command["id"], "name": name, "type": 1, "options": options}
    return COMMAND, reply, {"data": data}


def _ask(
    guild: Guild, endpoint: str, kind: int, reply: Reply, about: dict[str, Any]
) -> dict[str, Any]:
    """Send an interaction to the desk. Return what the page needs: the type of the
    answer, why it failed, and the form if the answer is one.
    """
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
    try:
        with requests.Session() as session:
            # Ignore proxy settings: the desk is on this machine.
            session.trust_env = False
            response = session.post(
                endpoint,
                data=body,
                headers=headers,
                timeout=ANSWER_SECONDS,
                allow_redirects=False,
            )
        response.raise_for_status()
        answer = response.json()
    except requests.RequestException as error:
        # No answer within three seconds, an error status, or an answer that is not
        # JSON.
        return {"type": 0, "failed": str(error)}
    data = answer.get("data") or {}
    match answer["type"]:
        case 4 if data.get("content"):
            reply.state = "shown"
            reply.content = data["content"].strip()
            return {"type": 4, "failed": ""}
        case 5:
            reply.state = "thinking"
            return {"type": 5, "failed": ""}
        case 9 if kind != FORM:
            return {"type": 9, "failed": "", "form": data}
    return {"type": 0, "failed": "its answer is none that Discord takes here"}


def member_of(username: str) -> Member:
    """Return the member with this username; the first member for any other name."""
    return next((one for one in MEMBERS if one.username == username), MEMBERS[0])


def channel_named(name: str) -> GuildChannel:
    """Return the channel with this name; the first channel for any other name."""
    return next((one for one in CHANNELS if one.name == name), CHANNELS[0])
