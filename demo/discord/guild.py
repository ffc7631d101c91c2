"""The stand-in's server: its application, the messages of its channels, and what an
application answered to one member alone. Of every request a journal is written, from
which the messages are read at the start.

Keeps no token in clear: a webhook's address is a secret, here as with Discord.
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

DISCORD_EPOCH_MS = 1_420_070_400_000
# More than anyone scrolls through in a demo, and a bound on memory.
MOST_MESSAGES = 1000
MOST_REPLIES = 20


@dataclass(frozen=True)
class Message:
    """A message as Discord's API gives it, and what only the stand-in knows."""

    content: dict[str, Any]
    token_hash: str
    edits: int = 0
    pings: int = 0


@dataclass
class Reply:
    """One interaction, and its answer as far as there is one. `asked` says what was
    done, as Discord shows it.
    """

    id: str
    member: Member
    channel: GuildChannel
    asked: str
    state: Literal["asked", "thinking", "shown", "failed"] = "asked"
    content: str = ""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(60))


class Guild:
    """Messages and replies, oldest first. Every method may be called from any thread."""

    def __init__(self, data_dir: Path) -> None:
        """Read the data of an earlier run, and go on writing at the journal's end."""
        self.application = load_or_make(data_dir / APPLICATION_FILE)
        self.messages: dict[str, Message] = {}
        # By token.
        self.replies: dict[str, Reply] = {}
        # The hash of a webhook's token by its id: it comes into being when it is first
        # used, and has that token from then on.
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
        """A word that changes whenever the page would look different."""
        return f"{self._started:x}-{self._changes}"

    def touch(self) -> None:
        """Let pages look again."""
        with self._lock:
            self._changes += 1

    def snowflake(self) -> str:
        """Return a new id: Discord's layout, strictly rising."""
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
        """Note that somebody used a button or a command."""
        reply = Reply(self.snowflake(), member, channel, asked)
        with self._lock:
            self.replies[reply.token] = reply
            while len(self.replies) > MOST_REPLIES:
                del self.replies[next(iter(self.replies))]
        return reply

    def replies_to(self, member: Member) -> list[Reply]:
        """Return what this member sees and nobody else does."""
        with self._lock:
            mine = [one for one in self.replies.values() if one.member == member]
        return [reply for reply in mine if reply.state != "asked"]

    def commands(self) -> list[dict[str, Any]]:
        """Return what was registered last, as Discord gives it back."""
        if not self._commands_file.exists():
            return []
        commands = json.loads(self._commands_file.read_text(encoding="utf-8"))
        return [
            {**one, "id": f"{self.application.id}{number:02d}"}
            for number, one in enumerate(commands, 1)
        ]

    def register(self, commands: list[dict[str, Any]]) -> None:
        """Take these commands in place of all others."""
        with self._lock:
            replace_private(self._commands_file, json.dumps(commands))

    def journal(self, message: Message | None = None, **entry: Any) -> None:
        """Append one request and its answer's status; `message` as it is afterwards."""
        entry["at"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        if message is not None:
            entry |= {"message": message.content}
            entry |= {"edits": message.edits, "pings": message.pings}
        with self._lock:
            # On a line of its own, also after one that a kill tore.
            self._journal.write(f"\n{json.dumps(entry)}")
            self._journal.flush()

    def _replay(self, line: str) -> None:
        try:
            entry = json.loads(line)
        except ValueError:
            return  # empty, or torn by a kill in the middle of a write
        if not isinstance(entry, dict) or not 200 <= entry.get("status", 0) < 300:
            return
        if content := entry.get("message"):
            counts = (entry["edits"], entry["pings"])
            self.put(Message(content, entry["token_hash"], *counts))
            self._last_snowflake = max(self._last_snowflake, int(content["id"]))


def hash_token(token: str) -> str:
    """Return what is kept in place of a token."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def channel_with_id(channel_id: str) -> GuildChannel:
    """Return the channel of an id; those of made-up webhooks are shown with approvals."""
    return next((one for one in CHANNELS if one.id == channel_id), APPROVALS)
