"""Registers the desk's slash commands with Discord, so that Discord offers them when
somebody types a slash. One call replaces the application's whole list.
"""

import re

from django.conf import settings

from alerts.channels.discord.replies import call_discord
from alerts.channels.requests import Json, NotPosted

# Discord's codes for the type of an option that is text, and of a slash command.
_STRING = 3
_CHAT_INPUT = 1
_ID = re.compile(r"[0-9]{1,32}")
_ASK_AGAIN = "Run it again in a few minutes."


class NotRegistered(Exception):
    """The commands were not registered; the sentence says why, and what to do."""


# Everybody on the server sees these descriptions when typing a slash.
_OPTIONS = {
    "to": "Address, or several with commas",
    "subject": "Subject line",
    "message_id": "The id shown by /checkinbox",
    "body": "Text of the message; \\n starts a new line",
    "mailbox": "Which mailbox, where you may use several",
}


def _option(name: str) -> Json:
    bare = name.strip("[]")
    return {
        "type": _STRING,
        "name": bare,
        "description": _OPTIONS[bare],
        "required": bare == name,
    }


def _command(name: str, description: str, *options: str) -> Json:
    # Options with their names in brackets may be left out.
    return {
        "type": _CHAT_INPUT,
        "name": name,
        "description": description,
        "options": [_option(one) for one in options],
    }


COMMANDS = [
    _command(
        "sendemail",
        "Send an email; somebody else reviews it first",
        "to",
        "subject",
        "body",
        "[mailbox]",
    ),
    _command(
        "reply",
        "Answer an email; somebody else reviews it first",
        "message_id",
        "body",
        "[mailbox]",
    ),
    _command("checkinbox", "List unread mail; it stays unread", "[mailbox]"),
    _command("pending", "List messages waiting for review"),
]


def register(*, guild: str = "") -> list[str]:
    """Replace the application's commands at Discord with these; return their names.
    `guild` is Discord's id of one server; empty means all. Raises NotRegistered.
    """
    app = settings.DISCORD_APP_ID
    token = settings.DISCORD_BOT_TOKEN
    if not _ID.fullmatch(app):
        raise NotRegistered(
            "Set DISCORD_APP_ID to the Application ID of your application: a number, from its page."
        )
    if not token:
        raise NotRegistered(
            "Set DISCORD_BOT_TOKEN to the token of your application's bot, from its page Bot."
        )
    if guild and not _ID.fullmatch(guild):
        raise NotRegistered(
            "The id of a server is a number: right-click its name in Discord and copy the id."
        )
    scope = f"/guilds/{guild}" if guild else ""
    try:
        answer = call_discord(
            "PUT",
            f"applications/{app}{scope}/commands",
            COMMANDS,
            Authorization=f"Bot {token}",
        )
    except NotPosted as error:
        raise NotRegistered(f"Discord could not be reached: {error}") from None
    if answer.status == 200:
        return [f"/{one['name']}" for one in COMMANDS]
    hint = "Check that DISCORD_APP_ID and DISCORD_BOT_TOKEN belong to the same application."
    if guild:
        hint = "Invite it to that server with the scope applications.commands."
    why_not = {
        400: "Discord does not accept the commands; this version of the desk may be too old for it.",
        401: "Discord does not accept the bot's token. Create a new one on your application's page Bot, and set "
        "DISCORD_BOT_TOKEN to it.",
        403: f"Discord does not let this bot set commands there. {hint}",
        404: "Discord does not know this application or server. Check DISCORD_APP_ID"
        f"{' and the server id' if guild else ''}.",
        429: f"Discord asks to wait. {_ASK_AGAIN}",
    }
    raise NotRegistered(
        why_not.get(answer.status, f"Discord answered {answer.status}. {_ASK_AGAIN}")
    )
