"""The server ("guild") of the stand-in for Discord: its application, the messages of
its channels, and replies that only one member sees.

Each change of a message is written to a journal, from which the messages are read at the
start. No token is stored, because the URL of a webhook is a secret.

The application's id, the key that signs interactions, and the bot's token are stored in
a file of their own. `python -m demo.discord.guild FILE` makes it. Real developers find
these values on a page of Discord's.
"""

import json
import secrets
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.credentials import read_credentials, replace_private, write_credentials
from common.demo import (
    APP_ID,
    APPLICATION_FILE,
    APPROVALS,
    CHANNELS,
    COMMANDS_FILE,
    GuildChannel,
    Member,
)
from common.unique_keys import Json


@dataclass(frozen=True)
class Application:
    """The application's values, with the private key, which only Discord would have."""

    id: str
    bot_token: str
    key: Ed25519PrivateKey


def load_or_make(file: Path) -> Application:
    """Return the application in the file. If there is no file, make a new application
    and store it there.
    """
    if not file.exists():
        key = Ed25519PrivateKey.generate()
        values = {
            "DISCORD_APP_ID": APP_ID,
            "DISCORD_PUBLIC_KEY": key.public_key().public_bytes_raw().hex(),
            "DISCORD_BOT_TOKEN": f"demo.{secrets.token_urlsafe(32)}",
            "DISCORD_PRIVATE_KEY": key.private_bytes_raw().hex(),
        }
        write_credentials(file, values)
    stored = read_credentials(file)
    return Application(
        stored["DISCORD_APP_ID"],
        stored["DISCORD_BOT_TOKEN"],
        Ed25519PrivateKey.from_private_bytes(
            bytes.fromhex(stored["DISCORD_PRIVATE_KEY"])
        ),
    )


# The beginning of 2015, from which Discord's ids count milliseconds.
DISCORD_EPOCH_MS = 1_420_070_400_000
# How many messages and replies are kept in memory.
MOST_MESSAGES = 1000
MOST_REPLIES = 20


@dataclass
class Reply:
    """One interaction and the application's reply to it, which only the member sees.
    `asked` says in Discord's words what the member did.
    """

    id: str
    member: Member
    channel: GuildChannel
    asked: str
    state: Literal["asked", "thinking", "shown", "failed"] = "asked"
    content: str = ""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(60))
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class Guild:
    """The messages and replies, oldest first. Only the thread of the web server uses
    it.
    """

    def __init__(self, data_dir: Path) -> None:
        """Read the journal of earlier runs, and open it to append to it."""
        self.application = load_or_make(data_dir / APPLICATION_FILE)
        # Messages by their id, as Discord's API returns them.
        self.messages: dict[str, Json] = {}
        # Replies by the token of their interaction.
        self.replies: dict[str, Reply] = {}
        self._commands_file = data_dir / COMMANDS_FILE
        journal = data_dir / "discord.jsonl"
        journal.touch(mode=0o600)
        with journal.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                # Not an empty line, nor one that a kill cut off.
                with suppress(ValueError):
                    self._keep(json.loads(line)["message"])
        self._last_snowflake = max(map(int, self.messages), default=0)
        self._journal = journal.open("a", encoding="utf-8")
        # A text that changes whenever the page would look different.
        self.version = self.snowflake()

    def touch(self) -> None:
        """Change the version, so that open pages load their messages again."""
        self.version = self.snowflake()

    def snowflake(self) -> str:
        """Return a new id in Discord's form, always larger than the one before."""
        new = (time.time_ns() // 1_000_000 - DISCORD_EPOCH_MS) << 22
        self._last_snowflake = max(new, self._last_snowflake + 1)
        return str(self._last_snowflake)

    def messages_in(self, channel_id: str) -> list[Json]:
        """Return the messages of a channel, oldest first."""
        return [
            one for one in self.messages.values() if one["channel_id"] == channel_id
        ]

    def put(self, message: Json) -> None:
        """Add a message, or replace the one with its id. The journal has it before the
        request is answered.
        """
        self._keep(message)
        # Begin a new line first: a kill may have cut the last line off.
        self._journal.write(f"\n{json.dumps({'message': message})}")
        self._journal.flush()
        self.touch()

    def _keep(self, message: Json) -> None:
        self.messages[message["id"]] = message
        while len(self.messages) > MOST_MESSAGES:
            del self.messages[next(iter(self.messages))]

    def begin_reply(self, member: Member, channel: GuildChannel, asked: str) -> Reply:
        """Store that a member used a button, form or command, and return the
        interaction.
        """
        reply = Reply(self.snowflake(), member, channel, asked)
        self.replies[reply.token] = reply
        while len(self.replies) > MOST_REPLIES:
            del self.replies[next(iter(self.replies))]
        return reply

    def replies_to(self, member: Member) -> list[Reply]:
        """Return the replies that this member sees and nobody else."""
        return [
            reply
            for reply in self.replies.values()
            if reply.member == member and reply.state != "asked"
        ]

    def commands(self) -> list[Json]:
        """Return the commands that were registered last, with ids, as Discord returns
        them.
        """
        if not self._commands_file.exists():
            return []
        commands = json.loads(self._commands_file.read_text(encoding="utf-8"))
        return [
            {**one, "id": f"{self.application.id}{number:02d}"}
            for number, one in enumerate(commands, 1)
        ]

    def register(self, commands: list[Json]) -> None:
        """Replace all commands by these."""
        replace_private(self._commands_file, json.dumps(commands))


def channel_with_id(channel_id: str) -> GuildChannel:
    """Return the channel with this id; for other ids, as those of webhooks,
    #approvals.
    """
    return next((one for one in CHANNELS if one.id == channel_id), APPROVALS)


if __name__ == "__main__":
    load_or_make(Path(sys.argv[1]))
