"""Ephemeral replies of an application to interactions; they can be deferred for at most
15 minutes.
"""

import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from common.demo import GuildChannel, Member
from demo.discord.application import Application
from demo.discord.channel import Channel
from demo.discord.messages import Refused, read_payload
from demo.web import Answer, Request, json_answer

TOKEN_SECONDS = 15 * 60
MOST_REPLIES = 200
_ORIGINAL = re.compile(
    r"/api(?:/v\d{1,2})?/webhooks/(\d{1,20})/([\w.-]{1,300})/messages/@original/?"
)

State = Literal["asked", "thinking", "shown", "failed"]


@dataclass
class Reply:
    """One interaction, and its answer as far as there is one. `asked` says what was
    done, as Discord shows it.
    """

    id: str
    member: Member
    channel: GuildChannel
    asked: str
    state: State = "asked"
    content: str = ""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(60))
    begun: float = field(default_factory=time.monotonic)


@dataclass
class Replies:
    """The replies of this process, oldest first. Every method may be called from any
    thread.
    """

    application: Application
    channel: Channel
    clock: Callable[[], float] = time.monotonic
    _replies: dict[str, Reply] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, member: Member, channel: GuildChannel, asked: str) -> Reply:
        """Note that somebody used a button or a command."""
        reply = Reply(
            self.channel.snowflake(), member, channel, asked, begun=self.clock()
        )
        with self._lock:
            self._replies[reply.token] = reply
            while len(self._replies) > MOST_REPLIES:
                del self._replies[next(iter(self._replies))]
        return reply

    def show(self, reply: Reply, state: State, content: str = "") -> None:
        """Show the reply's new state on the page."""
        reply.state = state
        reply.content = content
        self.channel.touch()

    def dismiss(self, member: Member, reply_id: str) -> None:
        """Remove a reply from the page; its token stays valid."""
        with self._lock:
            for reply in self._replies.values():
                if (reply.member, reply.id) == (member, reply_id):
                    reply.state = "asked"
        self.channel.touch()

    def seen_by(self, member: Member, channel: GuildChannel) -> list[Reply]:
        """Return what this member sees in this channel and nobody else does."""
        with self._lock:
            mine = [
                one
                for one in self._replies.values()
                if (one.member, one.channel) == (member, channel)
            ]
        for reply in mine:
            if reply.state == "thinking" and self._is_over(reply):
                reply.state = "failed"
                reply.content = ""
        return [reply for reply in mine if reply.state != "asked"]

    def handle(self, request: Request) -> Answer | None:
        """Answer a request about a deferred reply; None for other URLs."""
        found = _ORIGINAL.fullmatch(request.path)
        if found is None:
            return None
        try:
            answer = self._answer(request, found[1], found[2])
        except Refused as refused:
            answer = refused.answer
        entry = {"method": request.method, "reply": found[1], "status": answer.status}
        self.channel.journal(entry)
        return answer

    def _answer(self, request: Request, app_id: str, token: str) -> Answer:
        with self._lock:
            reply = self._replies.get(token)
        if app_id != self.application.app_id or reply is None or self._is_over(reply):
            raise Refused(404, 10015, "Unknown Webhook")
        if reply.state not in ("thinking", "shown"):
            raise Refused(404, 10008, "Unknown Message")
        if request.method == "PATCH":
            payload = read_payload(request)
            content = str(payload.get("content") or "").strip()
            if not content:
                raise Refused(400, 50006, "Cannot send an empty message")
            self.show(reply, "shown", content)
        elif request.method != "GET":
            raise Refused(405, 0, "405: Method Not Allowed")
        message = {
            "id": reply.id,
            "channel_id": reply.channel.id,
            "type": 20,
            "flags": 64,
            "author": {"id": app_id, "username": "Countersign", "bot": True},
            "content": reply.content,
            "embeds": [],
            "components": [],
        }
        return json_answer(message)

    def _is_over(self, reply: Reply) -> bool:
        return self.clock() > reply.begun + TOKEN_SECONDS
