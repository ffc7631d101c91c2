"""What the channels hold: messages in memory, and a journal of every request, from
which they are read at the start.

Keeps no token in clear: a webhook's address is a secret, here as with Discord.
"""

import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from common.demo import APPROVALS, CHANNELS, GuildChannel
from demo.web import Answer, Request

DISCORD_EPOCH_MS = 1_420_070_400_000
# More than anyone scrolls through in a demo, and a bound on memory.
MOST_MESSAGES = 1000


@dataclass
class Message:
    """A message as Discord's API gives it, and what only the stand-in knows."""

    content: dict[str, Any]
    token_hash: str
    edits: int = 0
    pings: int = 0


@dataclass
class Channel:
    """The messages of all channels, newest last, and the journal. Every method may be
    called from any thread.
    """

    journal_path: Path
    messages: dict[str, Message] = field(default_factory=dict)
    deleted_webhooks: set[str] = field(default_factory=set)
    # By id: a webhook comes into being when it is first used, and has that token from
    # then on.
    tokens: dict[str, str] = field(default_factory=dict)
    changes: int = 0
    _started: int = field(default_factory=time.time_ns)
    _last_snowflake: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _journal: TextIO | None = None

    def open(self) -> None:
        """Read the journal and go on writing at its end."""
        self.journal_path.parent.mkdir(parents=True, exist_ok=True)
        torn = False
        if self.journal_path.exists():
            with self.journal_path.open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    torn = not line.endswith("\n")
                    self._replay(line)
        self._journal = self.journal_path.open("a", encoding="utf-8")
        self.journal_path.chmod(0o600)
        if torn:
            self._journal.write("\n")

    @property
    def version(self) -> str:
        """A word that changes whenever the page would look different."""
        return f"{self._started:x}-{self.changes}"

    def touch(self) -> None:
        """Let pages look again: something beside the messages changed."""
        with self._lock:
            self.changes += 1

    def snapshot(self, channel_id: str) -> list[Message]:
        """Return the messages of a channel, oldest first."""
        with self._lock:
            messages = list(self.messages.values())
        return [
            message
            for message in messages
            if message.content["channel_id"] == channel_id
        ]

    def get(self, message_id: str) -> Message | None:
        """Return a message, whoever wrote it."""
        with self._lock:
            return self.messages.get(message_id)

    def snowflake(self) -> str:
        """Return a new message id: Discord's layout, strictly rising."""
        with self._lock:
            fresh = (time.time_ns() // 1_000_000 - DISCORD_EPOCH_MS) << 22
            self._last_snowflake = max(fresh, self._last_snowflake + 1)
            return str(self._last_snowflake)

    def find(self, webhook_id: str, token: str, message_id: str) -> Message | None:
        """Return the message if this webhook wrote it."""
        message = self.get(message_id)
        if (
            message
            and message.content.get("webhook_id") == webhook_id
            and message.token_hash == hash_token(token)
        ):
            return message
        return None

    def has_token(self, webhook_id: str, token: str) -> bool:
        """Return whether this is the webhook's token."""
        return self.tokens.get(webhook_id, hash_token(token)) == hash_token(token)

    def put(self, message: Message) -> None:
        """Add a message, or replace the one with its id."""
        with self._lock:
            self.messages[message.content["id"]] = message
            if webhook_id := message.content.get("webhook_id"):
                self.tokens.setdefault(webhook_id, message.token_hash)
            while len(self.messages) > MOST_MESSAGES:
                del self.messages[next(iter(self.messages))]
            self.changes += 1

    def remove(self, message_id: str) -> None:
        """Forget a message."""
        with self._lock:
            self.messages.pop(message_id, None)
            self.changes += 1

    def delete_webhook(self, webhook_id: str, token: str) -> None:
        """Let the webhook be unknown from now on, as when somebody deletes it in
        Discord's settings.
        """
        with self._lock:
            self.deleted_webhooks.add(f"{webhook_id}/{hash_token(token)}")

    def knows_webhook(self, webhook_id: str, token: str) -> bool:
        """Return whether the webhook exists: all do, until they are deleted."""
        return f"{webhook_id}/{hash_token(token)}" not in self.deleted_webhooks

    def journal(self, entry: dict[str, Any], message: Message | None = None) -> None:
        """Append one request and its answer's status; `message` as it is afterwards."""
        entry = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **entry}
        if message is not None:
            entry |= {"message": message.content}
            entry |= {"edits": message.edits, "pings": message.pings}
        with self._lock:
            if self._journal is not None:
                self._journal.write(json.dumps(entry) + "\n")
                self._journal.flush()

    def journal_request(
        self,
        request: Request,
        token: str,
        answer: Answer,
        message: Message | None,
        **ids: str | None,
    ) -> None:
        """Append a webhook's or a bot's request; of what was refused also the body."""
        entry = {
            "method": request.method,
            "token_hash": hash_token(token),
            "status": answer.status,
        }
        entry |= {name: value for name, value in ids.items() if value is not None}
        if answer.status >= 400 and request.body:
            entry["refused_body"] = request.body[:20_000].decode("utf-8", "replace")
        self.journal(entry, message)

    def _replay(self, line: str) -> None:
        try:
            entry = json.loads(line)
        except ValueError:
            return  # torn by a kill in the middle of a write
        if not isinstance(entry, dict) or not 200 <= entry.get("status", 0) < 300:
            return
        if entry.get("method") == "DELETE" and "message_id" in entry:
            self.remove(entry["message_id"])
        elif entry.get("method") == "DELETE":
            self.deleted_webhooks.add(f"{entry['webhook_id']}/{entry['token_hash']}")
        elif content := entry.get("message"):
            counts = (entry["edits"], entry["pings"])
            self.put(Message(content, entry["token_hash"], *counts))
            self._last_snowflake = max(self._last_snowflake, int(content["id"]))


def hash_token(token: str) -> str:
    """Return what the journal keeps in place of a token."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def channel_with_id(channel_id: str) -> GuildChannel:
    """Return the channel of an id; those of made-up webhooks are shown with approvals."""
    return next(
        (channel for channel in CHANNELS if channel.id == channel_id), APPROVALS
    )


def time_of(snowflake: str) -> datetime:
    """Return when an id was given out."""
    return datetime.fromtimestamp(
        ((int(snowflake) >> 22) + DISCORD_EPOCH_MS) / 1000, UTC
    )
