"""What the stand-in's page posts when somebody presses a button, sends a form or uses a
command. JSON in, JSON out.
"""

import json
from dataclasses import dataclass
from typing import Any

from common.demo_discord import CHANNELS, MEMBERS, GuildChannel, Member
from demo.discord.forms import form_dialog
from demo.discord.interactions import Interactions, NotPlayed
from demo.web import Answer, Request, json_answer

PATH = "/play/"


@dataclass(slots=True)
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
