"""The live process: a small ASGI application that passes hints from Redis on to open
pages, as server-sent events.

It uses neither Django nor the database, so that it stays small and an open page costs
almost nothing. It asks the dashboard which connections and mailboxes a person may see,
when a page connects and every half minute. A person gets only hints about these.
"""

import asyncio
import contextlib
import hashlib
import http.client
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import redis.asyncio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from common.env import env_int, env_list, env_origin, env_url
from common.heartbeat import keep_beating
from common.logs import JsonFormatter
from dashboard.live import CHANNEL

_handler = logging.StreamHandler()
_handler.setFormatter(JsonFormatter())
logging.basicConfig(level=logging.INFO, handlers=[_handler])
log = logging.getLogger(__name__)

# The connections and mailboxes that a person has a role for; None stands for all.
Reach = list[tuple[int | None, int | None]]

PORT = env_int("PORT", 8000)
PUBLIC_URL = env_origin("PUBLIC_URL", f"http://127.0.0.1:{PORT}")
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", "127.0.0.1,localhost")
REDIS_URL = env_url("REDIS_URL", schemes=("redis", "rediss", "unix"))
# After so many seconds without a hint, a page is sent a beat.
HEARTBEAT = 15.0
# An event and not a comment, so that the page's script gets it, and so knows that no
# proxy buffers the stream.
BEAT = "event: beat\ndata: 1\n\n"
# After so many seconds the dashboard is asked again what a page's reader may see.
RECHECK = 30.0
# For so many seconds a hint is waited for at a time.
SILENCE = 30.0
# How many hints wait for a page that reads slowly.
MAX_WAITING = 100
# The tabs of a browser share one stream. If they cannot (with plain http from another
# machine), the browser opens at most six connections to one host.
STREAMS_PER_PERSON = env_int("LIVE_STREAMS_PER_PERSON", 6)
# How many streams may be opening at a time, that is, their reader is being looked up:
# with the same cookies, and in all, because a client can present any cookies.
MOST_OPENING_OF_SESSION = STREAMS_PER_PERSON
MOST_OPENING = 200
# In seconds, for a client that opens too many streams.
RETRY_AFTER = 5
# What each answer has.
HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
# How many query parameters an address may have: as many as Django accepts.
MOST_PARAMETERS = 1000


@dataclass(eq=False)
class Page:
    """One open page, with what its reader may see, and the hints that wait to be
    sent.
    """

    reach: Reach
    person: str = ""
    # Whether the reader's session or roles may have changed: they are checked before
    # the next hint is sent.
    needs_recheck: bool = False
    # Whether the stream ends because the same person has opened too many newer ones.
    # Its page polls for a while.
    is_displaced: bool = False
    opened_at: float = field(default_factory=time.monotonic)
    hints: asyncio.Queue[str] = field(
        default_factory=lambda: asyncio.Queue(MAX_WAITING)
    )

    def offer(self, hint: dict[str, Any], text: str) -> None:
        """Queue a hint if the page's reader may see it. If the queue is full, because
        the page reads too slowly, the page misses the hint and polls.
        """
        scope = (hint["connection"], hint["mailbox"])
        # A hint of the kind "standing" is for all pages and contains nothing
        # confidential: each page then fetches what its reader may see.
        if hint.get("kind") == "standing" or any(
            (mailbox and mailbox == scope[1])
            or (not mailbox and connection in (None, scope[0]))
            for connection, mailbox in self.reach
        ):
            self.send(text)

    def send(self, text: str) -> None:
        """Queue a hint for the page's reader. An empty one only wakes the stream; if
        the queue is full, it is awake already.
        """
        with contextlib.suppress(asyncio.QueueFull):
            self.hints.put_nowait(text)


_pages: set[Page] = set()
# How many streams of each session, by the digest of its cookies, are being opened.
_opening: Counter[str] = Counter()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request: `/live/` with a stream, `/live/health` with the number of
    open pages, everything else with 404.
    """
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
            answer = _answer(400, {"error": sentence, "code": "too_many_parameters"})
        elif path == "/live/health":
            answer = _answer(200, {"status": "ok", "pages": len(_pages)})
        elif path == "/live" and scope["method"] == "GET":
            answer = await _stream(Request(scope).headers)
        else:
            answer = _answer(404, {"error": "Only /live/ is served here."})
        await answer(scope, receive, send)


async def _read_hints() -> None:
    """Subscribe to the channel of hints in Redis, and subscribe again whenever that
    fails.
    """
    while True:
        try:
            async with (
                redis.asyncio.Redis.from_url(REDIS_URL) as client,
                client.pubsub() as subscription,
            ):
                await subscription.subscribe(CHANNEL)
                while True:
                    asked_at = time.monotonic()
                    message = await subscription.get_message(timeout=SILENCE)
                    if message and message["type"] == "message":
                        _hand_out(message["data"].decode(errors="replace"))
                    elif not message and time.monotonic() - asked_at < SILENCE / 2:
                        # The library takes a broken connection (ETIMEDOUT) for a time
                        # without messages, from then on with each call.
                        raise redis.ConnectionError
        except (redis.RedisError, OSError) as error:
            log.warning(
                "live updates interrupted", extra={"reason": type(error).__name__}
            )
            await asyncio.sleep(1)


def _hand_out(text: str) -> None:
    try:
        hint = json.loads(text)
        kind = hint.get("kind")
        for page in _pages:
            if kind not in ("reach", "notices"):
                page.offer(hint, text)
            elif page.person != hint["person"]:
                continue
            elif kind == "reach":
                page.needs_recheck = True
                page.send("")
            else:
                page.send(text)
    except (AttributeError, KeyError, TypeError, ValueError):
        # A malformed message on the channel must not end this task: all pages depend on
        # it.
        log.warning("hint unreadable")


async def _stream(headers: Mapping[str, str]) -> Response:
    origin = headers.get("origin", "")
    if origin and not _is_own_origin(origin, headers.get("host", "")):
        return _answer(403, {"error": "This stream is only for the desk's own pages."})
    cors = {}
    if origin:
        cors = {
            "access-control-allow-origin": origin,
            "access-control-allow-credentials": "true",
        }
    session = hashlib.sha256(headers.get("cookie", "").encode()).hexdigest()
    if _opening[session] >= MOST_OPENING_OF_SESSION or _opening.total() >= MOST_OPENING:
        error = "Too many live streams are being opened."
        return _answer(429, {"error": error}, {**cors, "retry-after": str(RETRY_AFTER)})
    _opening[session] += 1
    try:
        # Nobody is signed in without a cookie, so there is no need to ask.
        reader = (
            await asyncio.to_thread(_ask_reader, headers)
            if "cookie" in headers
            else None
        )
    except OSError:
        return _answer(503, {"error": "The desk is not responding."}, cors)
    finally:
        _opening[session] -= 1
        if not _opening[session]:
            del _opening[session]
    if reader is None:
        return _answer(401, {"error": "Sign in at the desk first."}, cors)
    return StreamingResponse(
        _feed(Page(reader[1], reader[0]), headers),
        headers={**HEADERS, **cors, "x-accel-buffering": "no", "vary": "Origin"},
        media_type="text/event-stream",
    )


async def _feed(page: Page, headers: Mapping[str, str]) -> AsyncIterator[str]:
    """Yield hints and heartbeats until the page is closed, the stream is displaced, or
    the session ends.
    """
    own_pages = [one for one in _pages if one.person == page.person]
    own_pages.sort(key=lambda one: one.opened_at)
    # The person looks at the page that they just opened, so their oldest streams end.
    for one in own_pages[: max(0, len(own_pages) + 1 - STREAMS_PER_PERSON)]:
        one.is_displaced = True
        one.send("")
    _pages.add(page)
    checked_at = time.monotonic()
    try:
        yield f"retry: 1000\n{BEAT}"
        while True:
            try:
                hint = await asyncio.wait_for(page.hints.get(), HEARTBEAT)
                event = hint and f"event: hint\ndata: {hint}\n\n"
            except TimeoutError:
                event = BEAT
            if page.is_displaced:
                yield "event: limit\ndata: 1\n\n"
                return
            if page.needs_recheck or time.monotonic() - checked_at > RECHECK:
                access_changed = page.needs_recheck
                page.needs_recheck = False
                try:
                    reader = await asyncio.to_thread(_ask_reader, headers)
                except OSError:
                    # While the dashboard restarts, trust the last answer, unless the
                    # session or roles may have changed.
                    if access_changed:
                        return
                else:
                    if reader is None:
                        return
                    page.person, page.reach = reader
                checked_at = time.monotonic()
            if event:
                yield event
    finally:
        _pages.discard(page)


def _answer(
    status: int, body: dict[str, Any], headers: Mapping[str, str] | None = None
) -> Response:
    return JSONResponse(
        body, status, {**HEADERS, "connection": "close", **(headers or {})}
    )


def _is_own_origin(origin: str, host: str) -> bool:
    """Whether the request is from a page of the desk: its origin is PUBLIC_URL, or the
    dashboard's port on the host of the request.
    """
    if origin == PUBLIC_URL:
        return True
    hostname = urlsplit(f"//{host}").hostname or ""
    allowed = any(
        hostname == name or (name.startswith(".") and hostname.endswith(name))
        for name in ALLOWED_HOSTS
    )
    return allowed and origin == f"http://{hostname}:{PORT}"


def _ask_reader(headers: Mapping[str, str]) -> tuple[str, Reach] | None:
    """Ask the dashboard who has these cookies; return the person's key and what they
    may see, or None if nobody is signed in. Raises OSError.
    """
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
    forwarded = {"Host": headers.get("host", ""), "Cookie": headers.get("cookie", "")}
    try:
        connection.request("GET", "/live/reach/", headers=forwarded)
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
