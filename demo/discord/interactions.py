"""Buttons, forms and slash commands: what the page posts, and what the desk answers to
each within three seconds, signed as Discord signs it.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

import requests

from common.demo import CHANNELS, GUILD_ID, MEMBERS, GuildChannel, Member
from demo.discord.application import MAX_VALUE, Application, Commands
from demo.discord.channel import Channel, channel_with_id
from demo.discord.forms import form_dialog
from demo.discord.limits import (
    BUTTON,
    LABEL,
    STRING,
    TEXT_INPUT,
    find_errors,
    find_form_errors,
)
from demo.discord.replies import Replies, Reply
from demo.web import Answer, Request, json_answer

COMMAND = 2
COMPONENT = 3
FORM = 5
MESSAGE = 4
DEFERRED = 5
MODAL = 9
ANSWER_SECONDS = 3.0
# Send, embed, use commands: what ordinary people may do in a text channel.
_PERMISSIONS = str((1 << 10) | (1 << 11) | (1 << 14) | (1 << 16) | (1 << 31))


@dataclass(frozen=True)
class InteractionResult:
    """What the application answered at once: its type, the form to fill in, or why
    Discord took nothing.
    """

    kind: int = 0
    form: dict[str, Any] | None = None
    failed: str = ""


class NotPlayed(Exception):
    """Discord's client would not send this; the text says why."""


@dataclass
class Interactions:
    """Plays Discord between a member and the desk's endpoint."""

    application: Application
    channel: Channel
    commands: Commands
    replies: Replies
    endpoint: str

    def press(
        self, member: Member, message_id: str, custom_id: str
    ) -> InteractionResult:
        """Press a button of a message. Raises NotPlayed where it is not there (any
        more).
        """
        message = self.channel.get(message_id)
        rows = message.content["components"] if message else []
        buttons = (one for row in rows for one in row["components"])
        pressed = next((b for b in buttons if b.get("custom_id") == custom_id), None)
        if message is None or pressed is None:
            raise NotPlayed("This button is not there any more: the card has changed.")
        channel = channel_with_id(message.content["channel_id"])
        reply = self.replies.begin(member, channel, f"pressed {pressed['label']}")
        data = {"component_type": BUTTON, "custom_id": custom_id, "id": 1}
        return self._ask(reply, COMPONENT, {"message": message.content, "data": data})

    def submit(
        self, member: Member, message_id: str, custom_id: str, values: dict[str, str]
    ) -> InteractionResult:
        """Send a form that a press on this message opened."""
        message = self.channel.get(message_id)
        if message is None:
            raise NotPlayed("The card is not there any more.")
        fields = []
        for number, (name, value) in enumerate(values.items(), 1):
            text: dict[str, Any] = {"type": TEXT_INPUT, "id": number + 1}
            text |= {"custom_id": name, "value": value}
            fields.append({"type": LABEL, "id": number, "component": text})
        channel = channel_with_id(message.content["channel_id"])
        reply = self.replies.begin(member, channel, "sent a form")
        data = {"custom_id": custom_id, "components": fields}
        return self._ask(reply, FORM, {"message": message.content, "data": data})

    def command(
        self, member: Member, channel: GuildChannel, name: str, values: dict[str, str]
    ) -> InteractionResult:
        """Use a slash command. Raises NotPlayed where it is not registered, or not
        filled in as registered.
        """
        command = self.commands.find(name)
        if command is None:
            raise NotPlayed(f"No command /{name} is registered.")
        options = []
        for option in command.get("options") or []:
            value = values.get(option["name"], "").strip()
            if not value and option.get("required"):
                raise NotPlayed(f"{option['name']} is required.")
            most = option.get("max_length", MAX_VALUE)
            if len(value) > most:
                raise NotPlayed(f"{option['name']} takes {most} characters at most.")
            if value:
                text = {"name": option["name"], "type": STRING, "value": value}
                options.append(text)
        reply = self.replies.begin(member, channel, f"used /{name}")
        data = {"id": command["id"], "name": name, "type": 1, "options": options}
        return self._ask(reply, COMMAND, {"data": data})

    def _ask(self, reply: Reply, kind: int, about: dict[str, Any]) -> InteractionResult:
        body = json.dumps(self._interaction(reply, kind, about)).encode()
        begun = time.monotonic()
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Discord-Interactions/1.0 (+https://discord.com)",
            "X-Signature-Timestamp": timestamp,
            "X-Signature-Ed25519": self.application.sign(timestamp, body),
        }
        status = 0
        answer = None
        try:
            with requests.Session() as session:
                # Proxies are for what is outside.
                session.trust_env = False
                response = session.post(
                    self.endpoint,
                    data=body,
                    headers=headers,
                    timeout=ANSWER_SECONDS,
                    allow_redirects=False,
                )
            status = response.status_code
            answer = response.json()
        except requests.RequestException:
            # No answer, or none in JSON.
            pass
        result = self._read(reply, kind, status, answer)
        self.channel.journal(
            {
                "method": "INTERACTION",
                "interaction": reply.id,
                "type": kind,
                "user_id": reply.member.id,
                "status": status,
                "answered": result.kind,
                "failed": result.failed,
                "ms": round((time.monotonic() - begun) * 1000),
            }
        )
        if result.failed:
            self.replies.show(reply, "failed")
        return result

    def _interaction(
        self, reply: Reply, kind: int, about: dict[str, Any]
    ) -> dict[str, Any]:
        member = reply.member
        channel = reply.channel
        user = {
            "id": member.id,
            "username": member.username,
            "global_name": member.name,
            "discriminator": "0",
        }
        return {
            "id": reply.id,
            "application_id": self.application.app_id,
            "type": kind,
            "token": reply.token,
            "version": 1,
            "guild_id": GUILD_ID,
            "channel_id": channel.id,
            "channel": {
                "id": channel.id,
                "name": channel.name,
                "type": 0,
                "guild_id": GUILD_ID,
            },
            "member": {
                "user": {**user, "avatar": None, "public_flags": 0},
                "roles": [],
                "nick": None,
                "permissions": _PERMISSIONS,
                "joined_at": "2026-01-05T09:00:00+00:00",
                "deaf": False,
                "mute": False,
            },
            "app_permissions": _PERMISSIONS,
            "locale": "en-GB",
            "guild_locale": "en-GB",
            "entitlements": [],
            "context": 0,
            **about,
        }

    def _read(
        self, reply: Reply, kind: int, status: int, answer: Any
    ) -> InteractionResult:
        if status == 0:
            return InteractionResult(failed="no answer within three seconds")
        if status != 200 or not isinstance(answer, dict):
            return InteractionResult(failed=f"answered {status}")
        reply_data = answer.get("data")
        data: dict[str, Any] = reply_data if isinstance(reply_data, dict) else {}
        match answer.get("type"):
            case 4 if not find_errors(data) and str(data.get("content") or "").strip():
                self.replies.show(reply, "shown", str(data["content"]).strip())
                return InteractionResult(MESSAGE)
            case 5:
                self.replies.show(reply, "thinking")
                return InteractionResult(DEFERRED)
            case 9 if kind != FORM and not find_form_errors(data):
                return InteractionResult(MODAL, form=data)
        return InteractionResult(failed="its answer is none that Discord takes here")


# Where the page posts what a member does.
PATH = "/play/"


@dataclass
class Play:
    """Lets whoever looks at the page act as one of the members."""

    interactions: Interactions

    def handle(self, request: Request) -> Answer:
        """Do what was asked; 400 with words where Discord's client would not have."""
        # A form on another site can send text/plain but not this type without asking
        # first.
        if request.method != "POST" or request.content_type != "application/json":
            return json_answer({"message": "Send application/json."}, 415)
        try:
            asked = json.loads(request.body)
            return self._act(request.path.removeprefix(PATH), asked)
        except (ValueError, KeyError, TypeError, AttributeError):
            return json_answer({"message": "This is not what the page sends."}, 400)
        except NotPlayed as error:
            return json_answer({"message": str(error)}, 400)

    def _act(self, act: str, asked: dict[str, Any]) -> Answer:
        member = member_of(asked["as"])
        if act == "dismiss":
            self.interactions.replies.dismiss(member, str(asked["reply"]))
            return json_answer({})
        if act == "press":
            result = self.interactions.press(
                member, str(asked["message"]), str(asked["custom_id"])
            )
        elif act == "submit":
            values = _texts(asked["values"])
            result = self.interactions.submit(
                member, str(asked["message"]), str(asked["custom_id"]), values
            )
        elif act == "command":
            channel = channel_named(asked["channel"])
            result = self.interactions.command(
                member, channel, str(asked["name"]), _texts(asked["values"])
            )
        else:
            raise KeyError(act)
        fields = {"type": result.kind, "failed": result.failed}
        if result.form:
            fields["form"] = form_dialog(result.form, str(asked.get("message", "")))
        return json_answer(fields)


def member_of(username: str) -> Member:
    """Return the member of a username; whoever is not on the server is the first."""
    return next(
        (member for member in MEMBERS if member.username == username), MEMBERS[0]
    )


def channel_named(name: str) -> GuildChannel:
    """Return the channel of a name; the first where there is none."""
    return next((channel for channel in CHANNELS if channel.name == name), CHANNELS[0])


def _texts(values: dict[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in values.items()}
