"""The live stream: a small raw-ASGI process that hands hints from Redis to open pages as server-sent events.

Raw ASGI, because Django's own handler would hold a thread for every open page. A person gets only what concerns the
mailboxes they may see, judged at connect and again every half minute.
"""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
django.setup()

import redis.asyncio  # noqa: E402
from asgiref.sync import sync_to_async  # noqa: E402
from django.conf import settings  # noqa: E402
from django.contrib.auth import get_user  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.db import connections  # noqa: E402
from django.http import HttpRequest  # noqa: E402

from dashboard.hints import CHANNEL  # noqa: E402
from people.actors import Actor  # noqa: E402

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HEARTBEAT = 15.0
RECHECK = 30.0
MAX_WAITING = 100


@dataclass(eq=False)
class Page:
    """One open page: who looks at it, and the hints it has not been given yet."""

    actor: Actor
    hints: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(MAX_WAITING))

    def offer(self, hint: dict[str, Any], text: str) -> None:
        """Queue a hint that the person may see; a page that does not keep up misses it and polls."""
        scopes = self.actor.scopes
        if any(scope.reaches(connection=hint["connection"], mailbox=hint["mailbox"]) for scope in scopes):
            with contextlib.suppress(asyncio.QueueFull):
                self.hints.put_nowait(text)


_pages: set[Page] = set()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `/live/` with the stream and `/live/health`; everything else is 404."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http":
        path = scope["path"].rstrip("/")
        if path == "/live/health":
            await _answer(send, 200, {"status": "ok", "pages": len(_pages)})
        elif path == "/live" and scope["method"] == "GET":
            await _stream(scope, receive, send)
        else:
            await _answer(send, 404, {"error": "There is only /live/ here."})


async def _lifespan(receive: Receive, send: Send) -> None:
    reader: asyncio.Task[None] | None = None
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            reader = asyncio.create_task(_read_hints())
            await send({"type": "lifespan.startup.complete"})
        else:
            if reader is not None:
                reader.cancel()
            await send({"type": "lifespan.shutdown.complete"})
            return


async def _read_hints() -> None:
    """Hold the one subscription to Redis, and open it again when it breaks."""
    while True:
        try:
            async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as client, client.pubsub() as subscription:
                await subscription.subscribe(CHANNEL)
                async for message in subscription.listen():
                    if message["type"] == "message":
                        _hand_out(message["data"].decode())
        except (redis.RedisError, OSError) as error:
            log.warning("live updates interrupted", extra={"reason": type(error).__name__})
            await asyncio.sleep(1)


def _hand_out(text: str) -> None:
    hint = json.loads(text)
    for page in _pages:
        page.offer(hint, text)


async def _stream(scope: Scope, receive: Receive, send: Send) -> None:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    origin = headers.get("origin", "")
    if origin and not _is_own_origin(origin, headers.get("host", "")):
        await _answer(send, 403, {"error": "This stream is only for the desk's own pages."})
        return
    cors = [(b"access-control-allow-origin", origin.encode()), (b"access-control-allow-credentials", b"true")]
    session_key = _session_key(headers.get("cookie", ""))
    actor = await sync_to_async(_actor_of)(session_key)
    if actor is None:
        await _answer(send, 401, {"error": "Sign in at the desk first."}, cors if origin else [])
        return
    page = Page(actor)
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"cache-control", b"no-store"),
                (b"x-accel-buffering", b"no"),
                (b"x-content-type-options", b"nosniff"),
                (b"vary", b"Origin"),
                *(cors if origin else []),
            ],
        }
    )
    _pages.add(page)
    try:
        await _feed(page, session_key, receive, send)
    finally:
        _pages.discard(page)


async def _feed(page: Page, session_key: str, receive: Receive, send: Send) -> None:
    """Write hints and heartbeats until the page is left or its session ends."""
    clock = asyncio.get_running_loop()
    gone = asyncio.create_task(_disconnected(receive))
    checked = clock.time()
    await _write(send, "retry: 1000\n: open\n\n")
    try:
        while not gone.done():
            wait = asyncio.create_task(page.hints.get())
            await asyncio.wait({wait, gone}, timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
            if wait.done():
                await _write(send, f"event: hint\ndata: {wait.result()}\n\n")
            else:
                wait.cancel()
                await _write(send, ": still here\n\n")
            if clock.time() - checked > RECHECK:
                actor = await sync_to_async(_actor_of)(session_key)
                if actor is None:
                    return
                page.actor, checked = actor, clock.time()
    finally:
        gone.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _write(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _answer(
    send: Send, status: int, body: dict[str, Any], headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    start = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": start + (headers or [])})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def _is_own_origin(origin: str, host: str) -> bool:
    """Whether a page of the desk asks: its own address, or the dashboard's port on the host that was asked."""
    if origin == settings.PUBLIC_URL:
        return True
    asked = urlsplit(f"//{host}").hostname or ""
    allowed = any(asked == name or (name.startswith(".") and asked.endswith(name)) for name in settings.ALLOWED_HOSTS)
    return allowed and origin == f"http://{asked}:{settings.PORT}"


def _session_key(cookie_header: str) -> str:
    try:
        cookie = SimpleCookie(cookie_header).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _actor_of(session_key: str) -> Actor | None:
    """Return who the session belongs to, None when it is over. Leaves no database connection open behind it."""
    try:
        request = HttpRequest()
        request.session = SessionStore(session_key) if session_key else None  # type: ignore[assignment]
        person: Any = get_user(request) if session_key else None
        if person is None or not person.is_authenticated or not person.is_active:
            return None
        return person.actor(surface="live")  # type: ignore[no-any-return]
    finally:
        for connection in connections.all(initialized_only=True):
            connection.close()
