"""Buttons, forms and slash commands: takes what a member does on the page, and sends it
to the desk as a signed interaction, which the desk has to answer within three seconds.
"""

import json
import time
from dataclasses import dataclass

import requests
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from common.demo import CHANNELS, GUILD_ID, MEMBERS, GuildChannel, Member
from common.unique_keys import Json
from demo import local
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


# A reply, and those fields of the interaction that depend on its type.
Played = tuple[Reply, Json]


@dataclass
class Interactions:
    """Takes what members do on the page, and sends it to the desk at `endpoint`."""

    guild: Guild
    endpoint: str

    async def play(self, request: Request) -> Response:
        """Do what somebody did on the page as one of the members. Answer 400 if that is
        not possible any more, for instance because the card has changed. The answer
        says whether it failed, and has the form that the desk wants to be filled in.
        """
        if not is_json(request):
            return JSONResponse({"message": "Send application/json."}, 415)
        acts = {"press": self._press, "submit": self._submit, "command": self._command}
        try:
            posted = await request.json()
            member = member_of(posted["as"])
            reply, interaction = acts[request.path_params["act"]](member, posted)
        except (ValueError, KeyError, TypeError, AttributeError):
            return JSONResponse({"message": "This is not there any more."}, 400)
        # In a thread: meanwhile the desk may post here.
        form = await run_in_threadpool(self._ask, reply, interaction)
        self.guild.touch()
        result: Json = {"failed": reply.state == "failed"}
        if form:
            message_id = interaction["message"]["id"]
            result["form"] = fill(
                "form.html", id="form-asked", form=form, message_id=message_id
            )
        return JSONResponse(result)

    def _press(self, member: Member, posted: Json) -> Played:
        """Press a button of a message."""
        custom_id = str(posted["custom_id"])
        content = self.guild.messages[str(posted["message"])]
        labels = {
            button.get("custom_id"): button["label"]
            for row in content["components"]
            for button in row["components"]
        }
        channel = channel_with_id(content["channel_id"])
        reply = self.guild.begin_reply(member, channel, f"pressed {labels[custom_id]}")
        data = {"component_type": BUTTON, "custom_id": custom_id, "id": 1}
        return reply, {"type": COMPONENT, "message": content, "data": data}

    def _submit(self, member: Member, posted: Json) -> Played:
        """Submit a form that opened after a button was pressed."""
        content = self.guild.messages[str(posted["message"])]
        fields = []
        for name, value in posted["values"].items():
            text = {"type": TEXT_INPUT, "custom_id": name, "value": str(value)}
            fields.append({"type": LABEL, "component": text})
        data = {"custom_id": str(posted["custom_id"]), "components": fields}
        channel = channel_with_id(content["channel_id"])
        reply = self.guild.begin_reply(member, channel, "sent a form")
        return reply, {"type": FORM, "message": content, "data": data}

    def _command(self, member: Member, posted: Json) -> Played:
        """Use a slash command. Lengths were checked by the page's form."""
        name = posted["name"]
        command = {one["name"]: one for one in self.guild.commands()}[name]
        options = []
        for option in command.get("options") or []:
            if value := str(posted["values"].get(option["name"], "")).strip():
                options.append({"name": option["name"], "type": STRING, "value": value})
        channel = channel_named(posted["channel"])
        reply = self.guild.begin_reply(member, channel, f"used /{name}")
        data = {"id": command["id"], "name": name, "type": 1, "options": options}
        return reply, {"type": COMMAND, "data": data}

    def _ask(self, reply: Reply, about: Json) -> Json | None:
        """Send an interaction to the desk, and keep its answer in the reply. Return the
        form if the answer is one.
        """
        application = self.guild.application
        member = reply.member
        channel = reply.channel
        interaction = {
            "id": reply.id,
            "application_id": application.id,
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
            "X-Signature-Ed25519": application.key.sign(
                timestamp.encode() + body
            ).hex(),
        }
        try:
            response = local.request(
                "POST",
                self.endpoint,
                data=body,
                headers=headers,
                timeout=ANSWER_SECONDS,
            )
            response.raise_for_status()
            answer = response.json()
        except requests.RequestException:
            # No answer within three seconds, an error status, or an answer that is not
            # JSON.
            answer = {"type": 0}
        data: Json = answer.get("data") or {}
        match answer["type"]:
            case 4 if data.get("content"):
                reply.state = "shown"
                reply.content = data["content"].strip()
            case 5:
                reply.state = "thinking"
            case 9 if about["type"] != FORM:
                return data
            case _:
                # None that Discord takes here.
                reply.state = "failed"
        return None


def member_of(username: str) -> Member:
    """Return the member with this username; the first member for any other name."""
    return next((one for one in MEMBERS if one.username == username), MEMBERS[0])


def channel_named(name: str) -> GuildChannel:
    """Return the channel with this name; the first channel for any other name."""
    return next((one for one in CHANNELS if one.name == name), CHANNELS[0])
