"""The server ("guild") of the stand-in for Discord: its application, the messages of
its channels, and replies that only one member sees.

Changes of messages, refused requests and interactions are written to a journal, from
which the messages are read at the start. No token is stored, only its hash, because the
URL of a webhook is a secret.
"""

import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from common.credentials import replace_private
from common.demo import (
    APPLICATION_FILE,
    APPROVALS,
    CHANNELS,
    COMMANDS_FILE,
    GuildChannel,
    Member,
)
from demo.discord.application import load_or_make

# The beginning of 2015, from which Discord's ids count milliseconds.
DISCORD_EPOCH_MS = 1_420_070_400_000
# How many messages and replies are kept in memory.
MOST_MESSAGES = 1000
MOST_REPLIES = 20


@dataclass(frozen=True)
class Message:
    """A message, as Discord's API returns it, and what only the stand-in knows: the
    hash of its author's token, and how often it was edited and pings.
    """

    content: dict[str, Any]
    token_hash: str
    edits: int = 0
    pings: int = 0


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


class Guild:
    """The messages and replies, oldest first. All methods are safe to call from any
    thread.
    """

    def __init__(self, data_dir: Path) -> None:
        """Read the journal of earlier runs, and open it to append to it."""
        self.application = load_or_make(data_dir / APPLICATION_FILE)
        self.messages: dict[str, Message] = {}
        # Replies by the token of their interaction.
        self.replies: dict[str, Reply] = {}
        # The hash of each webhook's token, by the webhook's id. A webhook exists from
        # the first request to it, and keeps the token of that request.
        self.webhooks: dict[str, str] = {}
        self._commands_file = data_dir / COMMANDS_FILE
        self._started = time.time_ns()
        self._changes = 0
        self._last_snowflake = 0
        self._lock = threading.RLock()
        journal = data_dir / "discord.jsonl"
        journal.touch(mode=0o600)
        with journal.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self._replay(line)
        self._journal = journal.open("a", encoding="utf-8")

    @property
    def version(self) -> str:
        """A text that changes whenever the page would look different."""
        return f"{self._started:x}-{self._changes}"

    def touch(self) -> None:
        """Change the version, so that open pages load their messages again."""
        with self._lock:
            self._changes += 1

    def snowflake(self) -> str:
        """Return a new id in Discord's form, always larger than the one before."""
        with self._lock:
            fresh = (time.time_ns() // 1_000_000 - DISCORD_EPOCH_MS) << 22
            self._last_snowflake = max(fresh, self._last_snowflake + 1)
            return str(self._last_snowflake)

    def messages_in(self, channel_id: str) -> list[Message]:
        """Return the messages of a channel, oldest first."""
        with self._lock:
            messages = list(self.messages.values())
        return [one for one in messages if one.content["channel_id"] == channel_id]

    def put(self, message: Message) -> None:
        """Add a message, or replace the one with its id."""
        with self._lock:
            self.messages[message.content["id"]] = message
            if webhook_id := message.content.get("webhook_id"):
                self.webhooks.setdefault(webhook_id, message.token_hash)
            while len(self.messages) > MOST_MESSAGES:
                del self.messages[next(iter(self.messages))]
            self._changes += 1

    def begin_reply(self, member: Member, channel: GuildChannel, asked: str) -> Reply:
        """Store that a member used a button, form or command, and return the
        interaction.
        """
        reply = Reply(self.snowflake(), member, channel, asked)
        with self._lock:
            self.replies[reply.token] = reply
            while len(self.replies) > MOST_REPLIES:
                del self.replies[next(iter(self.replies))]
        return reply

    def replies_to(self, member: Member) -> list[Reply]:
        """Return the replies that this member sees and nobody else."""
        with self._lock:
            own = [one for one in self.replies.values() if one.member == member]
        return [reply for reply in own if reply.state != "asked"]

    def commands(self) -> list[dict[str, Any]]:
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

    def register(self, commands: list[dict[str, Any]]) -> None:
        """Replace all commands by these."""
        with self._lock:
            replace_private(self._commands_file, json.dumps(commands))

    def journal(self, message: Message | None = None, **entry: Any) -> None:
        """Append a request and the status of its answer to the journal, with the
        message as it is after the request, if there is one.
        """
        entry["at"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        if message is not None:
            entry["message"] = message.content
            entry |= {"edits": message.edits, "pings": message.pings}
        with self._lock:
            # Begin a new line first: a kill may have cut the last line off.
            self._journal.write(f"\n{json.dumps(entry)}")
            self._journal.flush()

    def _replay(self, line: str) -> None:
        try:
            entry = json.loads(line)
        except ValueError:
            return  # an empty line, or one that a kill cut off
        if not isinstance(entry, dict) or not 200 <= entry.get("status", 0) < 300:
            return
        if content := entry.get("message"):
            self.put(
                Message(content, entry["token_hash"], entry["edits"], entry["pings"])
            )
            self._last_snowflake = max(self._last_snowflake, int(content["id"]))


def hash_token(token: str) -> str:
    """Return a short hash, which is stored instead of the token."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def channel_with_id(channel_id: str) -> GuildChannel:
    """Return the channel with this id; for other ids, as those of webhooks,
    #approvals.
    """
    return next((one for one in CHANNELS if one.id == channel_id), APPROVALS)
