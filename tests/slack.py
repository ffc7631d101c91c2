"""A stand-in for Slack that speaks its documented protocol: incoming webhooks,
chat.postMessage, chat.update, views.open and the addresses for private answers.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.serving import standing_in

HOOK = "/services/T0123/B0123/tokenthatnobodymaysee"
TOKEN = "xoxb-1-token-that-nobody-may-see"
CHANNEL = "C0123456789"
# Documented limits: characters of a text, and blocks of a message.
_TEXT = 3000
_BLOCKS = 50


@dataclass(frozen=True)
class Call:
    """One request, with the bot's token if it came with that."""

    path: str
    body: dict[str, Any]
    token: str


@dataclass
class Slack:
    """The state of the stand-in. `posts` are the messages in the channel. `next` has
    the answers to the next requests: (status, headers, body).
    """

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    posts: dict[str, dict[str, Any]] = field(default_factory=dict)
    next: list[tuple[int, dict[str, str], Any]] = field(default_factory=list)

    def answer(self, call):
        """Return the answer (status, headers, body) that Slack would give."""
        if self.next:
            return self.next.pop(0)
        error = find_error(call.body)
        if call.path == HOOK:
            if error:
                return 400, {}, error
            self.posts[f"hook {len(self.calls)}"] = call.body
            return 200, {}, "ok"
        if call.path.startswith("/actions/"):
            return 200, {}, "ok"
        if call.path == "/api/views.open":
            is_right = call.token == TOKEN and find_view_error(call.body["view"]) == ""
            return 200, {}, {"ok": is_right}
        if call.path not in ("/api/chat.postMessage", "/api/chat.update"):
            return 404, {}, "no_service"
        timestamp = call.body.get("ts") or f"1503435956.{len(self.calls):06}"
        if call.token != TOKEN:
            error = "invalid_auth"
        elif call.body["channel"] != CHANNEL:
            error = "channel_not_found"
        elif call.path.endswith("update") and timestamp not in self.posts:
            error = "message_not_found"
        if error:
            return 200, {}, {"ok": False, "error": error}
        self.posts[timestamp] = call.body
        return 200, {}, {"ok": True, "channel": CHANNEL, "ts": timestamp}


def find_error(body):
    """Return the error with which Slack refuses a body, by its documented limits; empty
    if it does not.
    """
    if not body.get("text"):
        return "no_text"
    for block in body.get("blocks", []):
        texts = (
            [block["text"]]
            if "text" in block
            else [*block.get("fields", []), *block.get("elements", [])]
        )
        most = {
            "header": 150,
            "section": 2000 if "fields" in block else _TEXT,
        }.get(block["type"], _TEXT)
        lengths = [len(one["text"]) for one in texts if one["type"] != "button"]
        is_wrong = block["type"] == "header" and texts[0]["type"] != "plain_text"
        if (
            is_wrong
            or not all(0 < one <= most for one in lengths)
            or len(block.get("fields", ())) > 10
        ):
            return "invalid_blocks"
    return "invalid_blocks" if len(body.get("blocks", ())) > _BLOCKS else ""


def find_view_error(view):
    """Return what Slack refuses in a form, by its documented limits; empty if nothing."""
    if len(view["private_metadata"]) > 3000 or len(view["callback_id"]) > 255:
        return "too long"
    titles = [view["title"], view["submit"], view["close"]]
    return "" if all(len(one["text"]) <= 24 for one in titles) else "long title"


def texts_of(value):
    """Yield the text of every text object in a body, and the text for notifications."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from (
                [one] if key == "text" and isinstance(one, str) else texts_of(one)
            )
    elif isinstance(value, list):
        for one in value:
            yield from texts_of(one)


def controls_in(body):
    """Return the parts of a body that Slack would read as a link, mention or date."""
    return re.findall(r"<[^>]*>", "\n".join(texts_of(body)))


def slack():
    """Serve a stand-in on a free port."""
    standin = Slack()

    def answer(handler):
        call = Call(
            handler.path,
            json.loads(handler.body()),
            handler.headers.get("Authorization", "").removeprefix("Bearer "),
        )
        standin.calls.append(call)
        status, headers, reply = standin.answer(call)
        handler.reply(
            status, reply.encode() if isinstance(reply, str) else reply, **headers
        )

    return standing_in(standin, answer)
