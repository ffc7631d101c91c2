"""Limits how much of a web process one client may use at a time, so that no session and
no address keeps the process from others.

A request counts against the session or API key that it presents, against its address,
and against the process. Nothing here asks the database, so a client can present another
cookie with each request. Therefore the limit of the address is the one that holds; that
of a session protects other sessions at the same address.

Threads are shared out: a client's requests wait for a thread of the client's own share,
and take none of the others'. The limits on requests and on bytes bound memory and disk.
Ordinary use stays far below them: a browser opens six connections to one host, and a
proxy that speaks HTTP/2 to it passes on about a hundred requests at once.
"""

import asyncio
import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Literal
from weakref import WeakValueDictionary

from common.addresses import address_in, network_of

log = logging.getLogger(__name__)

Environ = dict[str, Any]
# How many threads run the application.
THREADS = 4
MEBIBYTE = 1024 * 1024
# A larger body or response counts as so many bytes only, so that somebody who exports a
# year of history can still open pages.
MOST_COUNTED = 16 * MEBIBYTE


@dataclass(frozen=True)
class Share:
    """How much one client may use at a time, and the answer to requests beyond it."""

    requests: int
    # Bytes of bodies and responses that wait in memory or on disk.
    held: int
    threads: int
    sentence: str
    status: int = 429
    # A request that runs for longer does not count against `threads` any more.
    seconds: float | None = None
    # With more requests in progress than this, a thread is used again only after a
    # pause as long as its last request took.
    pauses_above: int | None = None


_SESSION = "This session or API key has too many requests in progress. Wait for their answers, then try again."
_ADDRESS = "Your network address has too many requests in progress. Try again in a few seconds."
_SESSION_SHARE = Share(requests=100, held=64 * MEBIBYTE, threads=2, sentence=_SESSION)
# By this share a session's requests run one after the other (IS_ONE_BY_ONE). Browsers
# open six connections to one host.
_TURN = replace(_SESSION_SHARE, threads=1, seconds=1.0, pauses_above=6)
# All clients of one address without a session together, such as people in an office who
# are signing in.
_STRANGERS = replace(_TURN, sentence=_ADDRESS, seconds=None)
# Signed requests: MultiMail's webhooks and Discord's interactions come from few
# addresses, and many come at once.
_SIGNED = Share(requests=200, held=64 * MEBIBYTE, threads=3, sentence=_ADDRESS)
# An office with a hundred people is one address. One thread is left for other
# addresses.
_ADDRESS_SHARE = Share(
    requests=300, held=192 * MEBIBYTE, threads=THREADS - 1, sentence=_ADDRESS
)
_HEALTH = Share(
    requests=16,
    held=MEBIBYTE,
    threads=1,
    pauses_above=4,
    sentence="Too many health checks are in progress.",
    status=503,
)
_PROCESS = Share(
    requests=800,
    held=384 * MEBIBYTE,
    threads=THREADS,
    sentence="Too many requests are in progress. Try again in a few seconds.",
    status=503,
)


class Refused(Exception):
    """The request is answered with this error, without the application."""

    def __init__(
        self, status: int, code: str, sentence: str, *, retry_after: int = 0
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.sentence = sentence
        # In seconds; 0 if the same request would be refused again.
        self.retry_after = retry_after


class Usage:
    """What one client, or the whole process, has in use, and its share."""

    def __init__(self, name: str, share: Share) -> None:
        self.name = name
        self.share = share
        self.requests = 0
        self.held = 0
        self.is_reported = False
        # Requests get their threads in the order in which they came.
        self.threads = asyncio.Semaphore(share.threads)

    def refuse(self) -> Refused:
        """Return the exception to raise, and log the first refusal."""
        if not self.is_reported:
            log.warning(
                "requests refused",
                extra={"of": self.name, "requests": self.requests, "held": self.held},
            )
        self.is_reported = True
        return Refused(
            self.share.status, "too_many_requests", self.share.sentence, retry_after=2
        )


class CountedRequest:
    """One request and what it uses, from its headers to the end of its response."""

    def __init__(self, usages: list[Usage]) -> None:
        # What it counts against, the narrowest first.
        self._usages = usages
        self._is_counted = False
        self._sizes = {"body": 0, "answer": 0}
        self._held = 0
        # Of which usages it has a thread, and since when by the loop's clock.
        self._with_thread: dict[Usage, float] = {}

    def begin(self) -> None:
        """Count the request, once. Raises Refused if a limit on requests is reached."""
        if self._is_counted:
            return
        for usage in self._usages:
            if usage.requests >= usage.share.requests:
                raise usage.refuse()
        for usage in self._usages:
            usage.requests += 1
        self._is_counted = True

    def end(self) -> None:
        """Stop counting the request and its bytes. Later calls have no effect."""
        for usage in self._usages:
            usage.held -= self._held
            if self._is_counted:
                usage.requests -= 1
        self.give_thread_back()
        self._usages = []

    def hold(self, part: Literal["body", "answer"], size: int) -> None:
        """Set how many bytes of the request's body, or of the response that waits for
        the client, are held now.
        """
        self._sizes[part] = min(size, MOST_COUNTED)
        held = sum(self._sizes.values())
        for usage in self._usages:
            usage.held += held - self._held
        self._held = held

    def check_held(self) -> None:
        """Raise Refused if one of the usages holds more bytes than its share."""
        for usage in self._usages:
            if usage.held > usage.share.held:
                raise usage.refuse()

    async def take_thread(self) -> None:
        """Wait until a thread is free in every share.

        The request waits for its session's share first. So no session has more requests
        waiting for the address's threads than it has threads itself.
        """
        for usage in self._usages:
            await usage.threads.acquire()
            loop = asyncio.get_running_loop()
            self._with_thread[usage] = loop.time()
            if usage.share.seconds is not None:
                loop.call_later(usage.share.seconds, self._give_back, usage)

    def give_thread_back(self) -> None:
        """Let the next request have the thread."""
        for usage in list(self._with_thread):
            self._give_back(usage)

    def _give_back(self, usage: Usage) -> None:
        # A request that runs for long has given its thread back before.
        began = self._with_thread.pop(usage, None)
        if began is None:
            return
        most = usage.share.pauses_above
        if most is None or usage.requests <= most:
            usage.threads.release()
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(loop.time() - began, usage.threads.release)


class Usages:
    """All usages of a process. Only the process's event loop may use this. `rules` is
    the module `request_rules` of the desk or of the gateway.
    """

    def __init__(self, rules: ModuleType) -> None:
        self._rules = rules
        # A usage is forgotten when no request counts against it any more.
        self._known: WeakValueDictionary[str, Usage] = WeakValueDictionary()

    def request(self, environ: Environ) -> CountedRequest:
        """Return a request to count, with the usages that it counts against."""
        usages = []
        for name, share in self._shares(environ):
            usage = self._known.get(name)
            if usage is None:
                self._known[name] = usage = Usage(name, share)
            usages.append(usage)
        return CountedRequest(usages)

    def _shares(self, environ: Environ) -> Iterator[tuple[str, Share]]:
        path = environ["PATH_INFO"]
        if path.rstrip("/") in self._rules.HEALTH_PATHS:
            # Health checks count against nothing else: the launcher ends a process that
            # does not answer them.
            yield "health", _HEALTH
            return
        address = network_of(address_in(environ))
        if path.startswith(self._rules.SIGNED_PATHS):
            yield f"signed {address}", _SIGNED
        elif session := self._rules.session_of(environ):
            # The session or key is a secret, so only its hash is stored.
            digest = hashlib.sha256(session.encode()).hexdigest()
            yield (
                f"session {digest}",
                replace(_SESSION_SHARE, threads=self._rules.SESSION_THREADS),
            )
            if self._rules.IS_ONE_BY_ONE:
                yield f"turn {digest}", _TURN
        else:
            yield f"strangers {address}", _STRANGERS
        yield f"address {address}", _ADDRESS_SHARE
        yield "process", _PROCESS
