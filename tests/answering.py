"""A stand-in for the part of Discord's API with which an application registers commands
and answers interactions (pressed buttons, typed commands).

It refuses what Discord refuses, and records each request with its answer's status.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.serving import standing_in

_ORIGINAL = re.compile(
    r"/api/v10/webhooks/(?P<app>[0-9]+)/(?P<token>[^/]+)/messages/@original"
)
_COMMANDS = re.compile(
    r"/api/v10/applications/(?P<app>[0-9]+)(/guilds/[0-9]+)?/commands"
)


@dataclass
class Discord:
    """The state of the stand-in for the application `app`. A `status` other than 200 is
    the answer to everything. `next` has the answers to the next requests: (status,
    headers, body).
    """

    app: str
    url: str = ""
    status: int = 200
    next: list[tuple[int, dict[str, str], Any]] = field(default_factory=list)
    # Tokens whose 15 minutes are over.
    expired: set[str] = field(default_factory=set)
    calls: list[tuple[str, str, Any, str]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    # What the person who pressed or typed sees, by the interaction's token.
    shown: dict[str, str] = field(default_factory=dict)

    @property
    def said(self):
        """The text of the last edit of an answer."""
        return str(self.calls[-1][2]["content"])

    def answer(self, method, path, body, authorization):
        """Record and answer one request. Return status, headers and body."""
        self.calls.append((method, path, body, authorization))
        answer = self._answer(method, path, body)
        self.statuses.append(answer[0])
        return answer

    def _answer(self, method, path, body):
        if self.next:
            return self.next.pop(0)
        if self.status != 200:
            return self.status, {}, {"message": "so says the test"}
        original = _ORIGINAL.fullmatch(path)
        if original is None or method != "PATCH":
            commands = _COMMANDS.fullmatch(path) if method == "PUT" else None
            return (
                (200, {}, body)
                if commands and commands["app"] == self.app
                else (404, {}, {"code": 0})
            )
        if original["app"] != self.app:
            return 404, {}, {"code": 10015, "message": "Unknown Webhook"}
        if original["token"] in self.expired:
            return 401, {}, {"code": 50027, "message": "Invalid Webhook Token"}
        content = body.get("content")
        if (
            not isinstance(content, str)
            or not content
            or len(content.encode("utf-16-le")) // 2 > 2000
        ):
            return 400, {}, {"code": 50035, "message": "Invalid Form Body"}
        self.shown[original["token"]] = content
        return 200, {}, {"id": "1", "type": 20, "content": content, "flags": 64}


def discord(app):
    """Serve a stand-in on a free port. The desk may call it."""
    standin = Discord(app)

    def answer(handler):
        body = json.loads(handler.body())
        authorization = handler.headers.get("Authorization", "")
        status, headers, reply = standin.answer(
            handler.command, handler.path, body, authorization
        )
        handler.reply(status, reply, **headers)

    return standing_in(standin, answer)
