"""Who calls, and how a tool asks the API for them: by a request of their own, with their
key, through the same server. So a tool is checked, limited and logged like any request.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from common.unique_keys import Json

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# Headers of the outer request that are not those of an inner one.
_OUTER = {b"content-type", b"content-length", b"transfer-encoding", b"connection"}


@dataclass(frozen=True)
class Caller:
    """The key behind a request to `/mcp`: what it may do, and which mailboxes it has.
    `api` is the ASGI application of all other paths.
    """

    api: Callable[[Message, Receive, Send], Awaitable[None]]
    scope: Message
    # Of a large call, which were parsed before.
    arguments: Json | None = None
    scopes: Sequence[str] = ()
    mailboxes: Sequence[str] = ()

    async def fetch(
        self, method: str, path: str, query: Json, body: Json
    ) -> tuple[Message, bytes]:
        """Send a request to the API, and return how its answer begins, and its body."""
        # In a thread: it may have megabytes.
        sent = (await asyncio.to_thread(json.dumps, body)).encode()
        headers = [pair for pair in self.scope["headers"] if pair[0] not in _OUTER]
        length = b"%d" % len(sent)
        headers += [(b"content-type", b"application/json"), (b"content-length", length)]
        inner = {
            **self.scope,
            "method": method,
            "path": path,
            "query_string": urlencode(query).encode(),
            "headers": headers,
        }
        messages: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": sent}

        async def send(message: Message) -> None:
            messages.append(message)

        await self.api(inner, receive, send)
        parts = [message.get("body", b"") for message in messages]
        return messages[0], b"".join(parts)

    async def ask(self, method: str, path: str, values: Json) -> Json:
        """Send a request to the API, and return the object in its answer. `values` are
        its parameters, or its body where it changes something.
        """
        query, body = {}, values
        if method in ("GET", "DELETE"):
            query = {name: part for name, part in values.items() if part is not None}
            body = {}
        start, content = await self.fetch(method, path, query, body)
        answer: Json = json.loads(content)
        if wait := dict(start["headers"]).get(b"retry-after"):
            answer["retry_after"] = int(wait)
        return answer
