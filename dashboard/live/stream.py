"""The live stream: a small raw-ASGI process that hands hints from Redis to open pages
as server-sent events.

It uses neither Django nor the database, so that it stays small and a page costs almost
nothing. It asks the dashboard who may see what, at connect and every half minute. A
person gets only hints about their own mailboxes.
"""

import asyncio
import contextlib
import hashlib
import http.client
import json
import logging
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio
from uvicorn.protocols.http.h11_impl import H11Protocol

from common.heartbeat import keep_beating
from common.logs import JsonFormatter
from dashboard.env import env_int, env_list, env_url
from dashboard.live import CHANNEL

_handler = logging.StreamHandler()
_handler.setFormatter(JsonFormatter())
logging.basicConfig(level=logging.INFO, handlers=[_handler])
log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
# The connections and mailboxes that a person has a role for; None stands for all.
Reach = list[tuple[int | None, int | None]]

PORT = env_int("PORT", 8000)
PUBLIC_URL = env_url("PUBLIC_URL", f"http://127.0.0.1:{PORT}")
ALLOWED_HOSTS = env_list(
    "ALLOWED_HOSTS", f"127.0.0.1,localhost,{urlsplit(PUBLIC_URL).hostname}"
)
REDIS_URL = env_url("REDIS_URL", schemes=("redis", "rediss", "unix"))
HEARTBEAT = 15.0
# An event and not a comment, so that the page's script sees it and knows that no proxy
# buffers the stream.
BEAT = "event: beat\ndata: 1\n\n"
RECHECK = 30.0
MAX_WAITING = 100
# One for each browser of a person, as its tabs share one. A browser whose tabs cannot
# (plain http from another machine) opens six connections to one address at most.
STREAMS_PER_PERSON = env_int("LIVE_STREAMS_PER_PERSON", 6)
# Streams whose reader is being looked up: of one session, and in all, as a client can
# present any cookie.
MOST_OPENING_OF_SESSION = STREAMS_PER_PERSON
MOST_OPENING = 200
RETRY_AFTER = 5
# As many as Django reads elsewhere.
MOST_PARAMETERS = 1000
# Seconds within which the headers must be complete, and for which a client may read
# nothing.
HEADER_SECONDS = 30
UNREAD_MILLISECONDS = 60_000


@dataclass(eq=False)
class Page:
    """One open page: what its reader may see, and the hints that are not sent yet."""

    reach: Reach
    person: str = ""
    # Whether the reader's session or roles may have changed: they are checked before
    # the next hint is sent.
    needs_recheck: bool = False
    # Whether a newer page of the same person replaces it.
    is_displaced: bool = False
    opened_at: float = field(default_factory=time.monotonic)
    hints: asyncio.Queue[str] = field(
        default_factory=lambda: asyncio.Queue(MAX_WAITING)
    )

    def recheck(self) -> None:
        """Make the stream look up the page's reader again, at once."""
        self.needs_recheck = True
        self._wake()

    def displace(self) -> None:
        """End the stream; the page polls for a while."""
        self.is_displaced = True
        self._wake()

    def _wake(self) -> None:
        # An empty hint only wakes the stream; if its queue is full it is awake.
        with contextlib.suppress(asyncio.QueueFull):
            self.hints.put_nowait("")

    def offer(self, hint: dict[str, Any], text: str) -> None:
        """Queue a hint if the person may see it; a page that does not keep up misses it
        and polls.
        """
        scope = (hint["connection"], hint["mailbox"])
        # A hint for all pages contains nothing confidential: each page then fetches
        # what its reader may see.
        if hint.get("kind") == "standing" or any(
            mailbox == scope[1] if mailbox else connection in (None, scope[0])
            for connection, mailbox in self.reach
        ):
            with contextlib.suppress(asyncio.QueueFull):
                self.hints.put_nowait(text)


_pages: set[Page] = set()
# How many streams of each session, by the digest of its cookies, are being opened.
_opening: Counter[str] = Counter()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `/live/` with the stream and `/live/health`; everything else is 404."""
    if scope["type"] == "lifespan":
        await receive()
        tasks = [asyncio.create_task(one) for one in (_read_hints(), keep_beating())]
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for task in tasks:
            task.cancel()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "http":
        path = scope["path"].rstrip("/")
        if scope["query_string"].count(b"&") >= MOST_PARAMETERS:
            sentence = (
                f"The address has more than {MOST_PARAMETERS:,} query parameters."
            )
            await _answer(send, 400, {"error": sentence, "code": "too_many_parameters"})
        elif path == "/live/health":
            await _answer(send, 200, {"status": "ok", "pages": len(_pages)})
        elif path == "/live" and scope["method"] == "GET":
            await _stream(scope, receive, send)
        else:
            await _answer(send, 404, {"error": "Only /live/ is served here."})


async def _read_hints() -> None:
    """Keep the one subscription to Redis, and reopen it when it fails."""
    while True:
        try:
            async with (
                redis.asyncio.Redis.from_url(REDIS_URL) as client,
                client.pubsub() as subscription,
            ):
                await subscription.subscribe(CHANNEL)
                async for message in subscription.listen():
                    if message["type"] == "message":
                        _hand_out(message["data"].decode(errors="replace"))
        except (redis.RedisError, OSError) as error:
            log.warning(
                "live updates interrupted", extra={"reason": type(error).__name__}
            )
            await asyncio.sleep(1)


def _hand_out(text: str) -> None:
    try:
        hint = json.loads(text)
        is_reach = hint.get("kind") == "reach"
        for page in _pages:
            if not is_reach:
                page.offer(hint, text)
            elif page.person == hint["person"]:
                page.recheck()
    except (AttributeError, KeyError, TypeError, ValueError):
        # A malformed message on the channel must not end this task: all pages depend on
        # it.
        log.warning("hint unreadable")


async def _stream(scope: Scope, receive: Receive, send: Send) -> None:
    headers = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in scope["headers"]
    }
    origin = headers.get("origin", "")
    if origin and not _is_own_origin(origin, headers.get("host", "")):
        error = "This stream is only for the desk's own pages."
        return await _answer(send, 403, {"error": error})
    cors = []
    if origin:
        cors = [
            (b"access-control-allow-origin", origin.encode()),
            (b"access-control-allow-credentials", b"true"),
        ]
    session = hashlib.sha256(headers.get("cookie", "").encode()).hexdigest()
    if _opening[session] >= MOST_OPENING_OF_SESSION or _opening.total() >= MOST_OPENING:
        wait = (b"retry-after", str(RETRY_AFTER).encode())
        error = "Too many live streams are being opened."
        return await _answer(send, 429, {"error": error}, [*cors, wait])
    _opening[session] += 1
    try:
        # Without a cookie do not ask the dashboard.
        reader = (
            await asyncio.to_thread(_ask_reader, headers)
            if "cookie" in headers
            else None
        )
    except OSError:
        error = "The desk is not responding."
        return await _answer(send, 503, {"error": error}, cors)
    finally:
        _opening[session] -= 1
        if not _opening[session]:
            del _opening[session]
    if reader is None:
        error = "Sign in at the desk first."
        return await _answer(send, 401, {"error": error}, cors)
    page = Page(reader[1], reader[0])
    own = [one for one in _pages if one.person == page.person]
    own.sort(key=lambda one: one.opened_at)
    # The oldest end and poll for a while: somebody looks at the page just opened.
    for one in own[: max(0, len(own) + 1 - STREAMS_PER_PERSON)]:
        one.displace()
    _pages.add(page)
    try:
        start = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
            (b"x-content-type-options", b"nosniff"),
            (b"vary", b"Origin"),
            *cors,
        ]
        await send({"type": "http.response.start", "status": 200, "headers": start})
        await _feed(page, headers, receive, send)
    finally:
        _pages.discard(page)


async def _feed(
    page: Page, headers: dict[str, str], receive: Receive, send: Send
) -> None:
    """Write hints and heartbeats until the page is closed or its session ends."""
    clock = asyncio.get_running_loop()
    gone = asyncio.create_task(_disconnected(receive))
    checked = clock.time()
    await _write(send, f"retry: 1000\n{BEAT}")
    try:
        while not gone.done():
            wait = asyncio.create_task(page.hints.get())
            await asyncio.wait(
                {wait, gone}, timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED
            )
            if page.is_displaced:
                await _write(send, "event: limit\ndata: 1\n\n")
                return
            if page.needs_recheck or clock.time() - checked > RECHECK:
                was_asked = page.needs_recheck
                page.needs_recheck = False
                try:
                    reader = await asyncio.to_thread(_ask_reader, headers)
                except OSError:
                    # While the dashboard restarts, trust the last answer, unless the
                    # session or roles may have changed.
                    if was_asked:
                        return
                else:
                    if reader is None:
                        return
                    page.person, page.reach = reader
                checked = clock.time()
            if not wait.done():
                wait.cancel()
                await _write(send, BEAT)
            elif wait.result():
                await _write(send, f"event: hint\ndata: {wait.result()}\n\n")
    finally:
        gone.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _write(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


async def _answer(
    send: Send,
    status: int,
    body: dict[str, Any],
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    start = [
        (b"content-type", b"application/json"),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"connection", b"close"),
    ]
    start += headers or []
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def _is_own_origin(origin: str, host: str) -> bool:
    """Whether the request is from a page of the desk: its own origin, or the
    dashboard's port on this host.
    """
    if origin == PUBLIC_URL:
        return True
    asked = urlsplit(f"//{host}").hostname or ""
    allowed = any(
        asked == name or (name.startswith(".") and asked.endswith(name))
        for name in ALLOWED_HOSTS
    )
    return allowed and origin == f"http://{asked}:{PORT}"


def _ask_reader(headers: dict[str, str]) -> tuple[str, Reach] | None:
    """Ask the dashboard who has these cookies and what they may see; None if nobody is
    signed in. Raises OSError.
    """
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
    sent = {"Host": headers.get("host", ""), "Cookie": headers.get("cookie", "")}
    try:
        connection.request("GET", "/live/reach/", headers=sent)
        response = connection.getresponse()
        if response.status != 200:
            return None
        reader = json.loads(response.read())
        return str(reader["person"]), [
            (one["connection"], one["mailbox"]) for one in reader["reach"]
        ]
    except (http.client.HTTPException, KeyError, ValueError) as error:
        raise OSError("the dashboard's answer cannot be read") from error
    finally:
        connection.close()


class LiveConnection(H11Protocol):  # type: ignore[misc]
    """One connection, with time limits for slow headers and slow readers, which uvicorn
    does not have.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin."""
        super().connection_made(transport)
        own = transport.get_extra_info("socket")
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MILLISECONDS)
        self.loop.call_later(HEADER_SECONDS, self._end_without_request)

    def _end_without_request(self) -> None:
        # Each response closes its connection, so there is only one request.
        if self.cycle is None:
            self.transport.abort()
