"""Serves `/mcp`: asks the API who calls, then lets the package answer.

It runs in the event loop, as a tool may wait for minutes. The API itself is asked in
threads, and refuses a request as it does all others. A large request is parsed in a
thread too: the package gets it without its arguments.
"""

import asyncio
import json
from typing import Any

from django.conf import settings
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from common.unique_keys import Json
from gateway.api.bodies import MAX_BODY, MAX_VALUES
from gateway.mcp.caller import Caller, Message, Receive, Send
from gateway.mcp.server import SERVER, bound_of_tool
from gateway.middleware import SMALL_BODY

# Of a body. Values may take thirty times its memory; a text may have as many commas as
# it has characters.
_MOST_COMMAS = MAX_VALUES + MAX_BODY


class Endpoint:
    """The application at `/mcp`; `api` is that of all other paths."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self.manager = StreamableHTTPSessionManager(
            SERVER,
            json_response=True,
            stateless=True,
            max_request_body_size=settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0,
        )

    async def __call__(
        self, scope: Message, body: bytes, receive: Receive, send: Send
    ) -> None:
        """Answer one request."""
        kind = dict(scope["headers"]).get(b"content-type", b"")
        is_clear = (
            kind.lower().startswith(b"application/json")
            and body.lstrip().startswith(b"{")
            and body.count(b",") <= _MOST_COMMAS
        )
        caller = Caller(self._api, scope)
        arguments = None
        most = 0
        if is_clear and len(body) > SMALL_BODY:
            try:
                body, arguments, most = await asyncio.to_thread(_taken_apart, body)
            except (ValueError, TypeError, RecursionError, AttributeError):
                is_clear = False
        asked = {"unclear": not is_clear, "most": most}
        start, content = await caller.fetch("POST", "/mcp/caller", asked, {})
        if start["status"] != 200:
            await send(start)
            await send({"type": "http.response.body", "body": content})
            return
        messages = [{"type": "http.request", "body": body}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        caller = Caller(self._api, scope, arguments, **json.loads(content))
        await self.manager.handle_request({**scope, "caller": caller}, replay, send)


def _taken_apart(body: bytes) -> tuple[bytes, Json, int]:
    """Return a request without the arguments of its tool; these; and how many bytes a
    call of that tool may have, or 0 if it has no more.
    """
    request = json.loads(body)
    params = request.get("params", {})
    arguments = params.pop("arguments", {})
    rest = json.dumps(request).encode()
    most = bound_of_tool(params.get("name"))
    if len(rest) > SMALL_BODY:
        most = SMALL_BODY
    return rest, arguments, most if len(body) > most else 0
