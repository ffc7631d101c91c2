"""The parts of Discord's API, version 10, that the desk uses: webhooks, a bot's
messages, an application's commands, and deferred replies. `demo.site` shows the result.

Bodies must be JSON. Discord also accepts multipart and form bodies; here these are
refused as invalid JSON.
"""

import json
import math
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from common.demo import CHANNELS, GUILD_ID
from demo.discord.guild import Guild, Message, channel_with_id, hash_token
from demo.discord.limits import LINK, ROW, Command, find_errors
from demo.web import Answer, Request, json_answer

# Who posts, if a webhook's message does not say.
NAME = "Countersign"
# Discord's rate limit, which headers report: how many requests in how many seconds.
LIMIT = 5
WINDOW_SECONDS = 2.0
# A second limit, which no header reports.
HIDDEN_LIMIT = 30
HIDDEN_SECONDS = 60.0
_API = r"/api(?:/v\d{1,2})?"
_WEBHOOK = re.compile(
    rf"{_API}/webhooks/(?P<webhook_id>\d{{1,20}})/(?P<token>[\w-]{{1,200}})(?:/messages/(?P<message_id>\d{{1,20}}))?/?"
)
_MESSAGES = re.compile(
    rf"{_API}/channels/(?P<channel_id>\d{{1,20}})/messages(?:/(?P<message_id>\d{{1,20}}))?/?"
)
_COMMANDS = re.compile(
    rf"{_API}/applications/(\d{{1,20}})(?:/guilds/(\d{{1,20}}))?/commands/?"
)
_ORIGINAL = re.compile(
    rf"{_API}/webhooks/(\d{{1,20}})/([\w.-]{{1,300}})/messages/@original/?"
)
# Code in Markdown, in which nothing is a mention; and the mentions by their kind.
_CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
_MENTIONS = {
    "everyone": re.compile(r"@(everyone|here)\b"),
    "users": re.compile(r"<@!?(\d+)>"),
    "roles": re.compile(r"<@&(\d+)>"),
}
# The parts of an embed, of which it needs at least one to be visible.
_SHOWN = ("title", "description", "fields", "footer")
# The answer, and the message as it is after the request, if there is one.
Outcome = tuple[Answer, Message | None]


class Refused(Exception):
    """Discord refuses a request: with an HTTP status, its own numeric code, a message,
    and perhaps the tree of errors of a form.
    """

    def __init__(self, status: int, code: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.answer = json_answer({"message": message, "code": code, **more}, status)


class RateLimiter:
    """Counts the requests of each key, against two limits: in fixed windows, which
    begin with their first request, and in a sliding window.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[str, tuple[float, int]] = {}
        self._times: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def take(self, key: str) -> tuple[float, dict[str, str]]:
        """Count one request of a key. Return how many seconds to wait, 0 if no limit is
        reached, and the rate limit headers of the answer. A request that has to wait is
        not counted.
        """
        with self._lock:
            now = self._clock()
            start, used = self._windows.get(key, (now, 0))
            if now >= start + WINDOW_SECONDS:
                start = now
                used = 0
            reset_after = _up(start + WINDOW_SECONDS - now)
            times = self._times.setdefault(key, deque())
            while times and times[0] <= now - HIDDEN_SECONDS:
                times.popleft()
            wait = 0.0
            if used >= LIMIT:
                wait = reset_after
            elif len(times) >= HIDDEN_LIMIT:
                wait = _up(times[0] + HIDDEN_SECONDS - now)
            else:
                used += 1
                times.append(now)
            self._windows[key] = (start, used)
        return wait, {
            "X-RateLimit-Limit": str(LIMIT),
            "X-RateLimit-Remaining": str(LIMIT - used),
            "X-RateLimit-Reset": f"{time.time() + reset_after:.3f}",
            "X-RateLimit-Reset-After": f"{reset_after:.3f}",
            "X-RateLimit-Bucket": hash_token(key),
        }


def _up(seconds: float) -> float:
    """Round up to the millisecond, as Discord does, so that waiting exactly that long
    is enough.
    """
    return math.ceil(seconds * 1000) / 1000


class DiscordApi:
    """Answers the API's calls by reading and changing the guild."""

    def __init__(self, guild: Guild) -> None:
        self.guild = guild
        self._rates = RateLimiter()

    def handle(self, request: Request) -> Answer:
        """Answer one call. Calls about messages are also rate limited and written to
        the journal.
        """
        for pattern, act in (
            (_WEBHOOK, self._on_webhook),
            (_MESSAGES, self._in_channel),
        ):
            if match := pattern.fullmatch(request.path):
                return self._counted(request, match, act)
        try:
            if match := _ORIGINAL.fullmatch(request.path):
                return self._on_reply(request, *match.groups())
            if match := _COMMANDS.fullmatch(request.path):
                return self._on_commands(request, *match.groups())
        except Refused as refused:
            return refused.answer
        return json_answer({"message": "404: Not Found", "code": 0}, 404)

    def _counted(
        self, request: Request, match: "re.Match[str]", act: Callable[..., Outcome]
    ) -> Answer:
        """Answer a call within the rate limits, and write it to the journal before the
        answer is sent.
        """
        ids = match.groupdict()
        message: Message | None = None
        wait, headers = self._rates.take(match[1])
        try:
            if wait:
                body = {
                    "message": "You are being rate limited.",
                    "retry_after": wait,
                    "global": False,
                }
                answer = json_answer(body, 429)
                answer.headers["Retry-After"] = str(math.ceil(wait))
                answer.headers["X-RateLimit-Scope"] = "user"
            else:
                answer, message = act(request, **ids)
        except Refused as refused:
            answer = refused.answer
        answer.headers |= headers
        # A webhook's token is in the URL, a bot's token is in a header.
        token = ids.pop("token", request.headers.get("authorization", ""))
        if answer.status >= 400 and request.body:
            ids["refused_body"] = request.body[:20_000].decode("utf-8", "replace")
        self.guild.journal(
            message,
            method=request.method,
            token_hash=hash_token(token),
            status=answer.status,
            **{name: value for name, value in ids.items() if value is not None},
        )
        return answer

    def _on_webhook(
        self, request: Request, webhook_id: str, token: str, message_id: str | None
    ) -> Outcome:
        hashed = hash_token(token)
        if self.guild.webhooks.get(webhook_id, hashed) != hashed:
            raise Refused(401, 50027, "Invalid Webhook Token")
        if message_id is not None:
            existing = self.guild.messages.get(message_id)
            if existing is None or existing.content.get("webhook_id") != webhook_id:
                raise Refused(404, 10008, "Unknown Message")
            return self._on_message(request, existing, only_links=True)
        if request.method != "POST":
            raise Refused(405, 0, "405: Method Not Allowed")
        payload = _payload(request, only_links=True)
        name = str(payload.get("username") or NAME)
        # A webhook whose id is that of a channel posts in this channel, any other
        # webhook in #approvals.
        channel_id = channel_with_id(webhook_id).id
        message = self._post(
            payload, channel_id, webhook_id, name, token, webhook_id=webhook_id
        )
        if _is_on(request, "wait"):
            return json_answer(message.content), message
        return Answer(204), message

    def _in_channel(
        self, request: Request, channel_id: str, message_id: str | None
    ) -> Outcome:
        self._refuse_stranger(request)
        if channel_id not in {channel.id for channel in CHANNELS}:
            raise Refused(404, 10003, "Unknown Channel")
        app_id = self.guild.application.id
        if request.method == "POST" and message_id is None:
            token = self.guild.application.bot_token
            message = self._post(_payload(request), channel_id, app_id, NAME, token)
            return json_answer(message.content), message
        existing = self.guild.messages.get(message_id or "")
        if existing is None or existing.content["channel_id"] != channel_id:
            raise Refused(404, 10008, "Unknown Message")
        if existing.content["author"]["id"] != app_id:
            raise Refused(403, 50005, "Cannot edit a message authored by another user")
        return self._on_message(request, existing)

    def _post(
        self,
        payload: dict[str, Any],
        channel_id: str,
        author_id: str,
        author: str,
        token: str,
        **more: str,
    ) -> Message:
        """Store a new message, whose author has this token. Raises Refused if the
        message would be empty.
        """
        content: dict[str, Any] = {
            "id": self.guild.snowflake(),
            "type": 0,
            "channel_id": channel_id,
            "author": {"id": author_id, "username": author, "bot": True},
            "timestamp": _now(),
            "edited_timestamp": None,
            "content": "",
            "embeds": [],
            "components": [],
            **more,
        }
        message = _filled(Message(content, hash_token(token)), payload)
        self.guild.put(message)
        return message

    def _on_message(
        self, request: Request, message: Message, *, only_links: bool = False
    ) -> Outcome:
        """Edit an existing message for its author. Raises Refused."""
        if request.method != "PATCH":
            raise Refused(405, 0, "405: Method Not Allowed")
        message = _filled(message, _payload(request, only_links=only_links))
        message.content["edited_timestamp"] = _now()
        message = replace(message, edits=message.edits + 1)
        self.guild.put(message)
        return json_answer(message.content), message

    def _on_commands(
        self, request: Request, app_id: str, guild_id: str | None
    ) -> Answer:
        self._refuse_stranger(request)
        if app_id != self.guild.application.id:
            raise Refused(404, 10002, "Unknown Application")
        if guild_id not in (None, GUILD_ID):
            raise Refused(403, 50001, "Missing Access")
        if request.method == "PUT":
            commands = _json(request)
            if errors := find_errors(commands, list[Command]):
                raise Refused(400, 50035, "Invalid Form Body", errors=errors)
            self.guild.register(commands)
        return json_answer(self.guild.commands())

    def _on_reply(self, request: Request, app_id: str, token: str) -> Answer:
        reply = self.guild.replies.get(token)
        if app_id != self.guild.application.id or reply is None:
            raise Refused(404, 10015, "Unknown Webhook")
        if request.method != "PATCH":
            raise Refused(405, 0, "405: Method Not Allowed")
        content = str(_payload(request).get("content") or "").strip()
        if not content:
            raise Refused(400, 50006, "Cannot send an empty message")
        reply.state = "shown"
        reply.content = content
        self.guild.touch()
        return json_answer({"id": reply.id, "type": 20, "content": content})

    def _refuse_stranger(self, request: Request) -> None:
        expected = f"Bot {self.guild.application.bot_token}"
        if request.headers.get("authorization") != expected:
            raise Refused(401, 0, "401: Unauthorized")


def _json(request: Request) -> Any:
    """Return the body's JSON. Raises Refused for a body that Discord does not accept as
    JSON.
    """
    try:
        content = json.loads(request.body)
    except (ValueError, RecursionError):
        content = None
    if content is None or not request.is_json:
        raise Refused(400, 50109, "The request body contains invalid JSON.")
    return content


def _payload(request: Request, *, only_links: bool = False) -> dict[str, Any]:
    """Return a message's body. Raises Refused, with the tree of errors, if it is not
    within Discord's limits.

    `only_links`: the message is a webhook's. Discord removes its components without an
    error, except for link buttons, if the query has `with_components`.
    """
    payload = _json(request)
    if not isinstance(payload, dict):
        raise Refused(400, 50109, "The request body contains invalid JSON.")
    if errors := find_errors(payload):
        raise Refused(400, 50035, "Invalid Form Body", errors=errors)
    if only_links and payload.get("components"):
        rows = []
        for row in payload["components"]:
            links = [one for one in row["components"] if one["style"] == LINK]
            if links and _is_on(request, "with_components"):
                rows.append({"type": ROW, "components": links})
        payload["components"] = rows
    return payload


def _is_on(request: Request, name: str) -> bool:
    return request.query.get(name, "").lower() in ("true", "1")


def _filled(message: Message, payload: dict[str, Any]) -> Message:
    """Return the message with those of its visible parts replaced that the payload has.
    Raises Refused if it would then be empty.
    """
    content = dict(message.content)
    if "content" in payload:
        content["content"] = str(payload["content"] or "").strip()
    for name in ("embeds", "components"):
        if name in payload:
            content[name] = payload[name] or []
    has_embed = any(embed.get(part) for embed in content["embeds"] for part in _SHOWN)
    if not (content["content"] or content["components"] or has_embed):
        raise Refused(400, 50006, "Cannot send an empty message")
    pings = count_pings(content["content"], payload.get("allowed_mentions"))
    return replace(message, content=content, pings=max(message.pings, pings))


def count_pings(content: str, allowed: Mapping[str, Any] | None) -> int:
    """Return how many people, roles and "everyone" a message's text pings, within its
    `allowed_mentions`. Discord never pings from an embed.
    """
    text = _CODE.sub("", content)
    pings = 0
    for kind, pattern in _MENTIONS.items():
        mentioned = set(pattern.findall(text))
        if allowed is not None and kind not in (allowed.get("parse") or []):
            mentioned &= set(() if kind == "everyone" else allowed.get(kind) or ())
        pings += len(mentioned)
    return pings


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
