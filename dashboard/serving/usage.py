"""How much of a web process one client may use at a time, so that no session and no
address keeps it from the others.

A request counts against the session or API key that it presents, against its address,
and against the process. Nothing here asks the database, so a client can present another
cookie with each request: the address is the limit that holds, and that of a session
protects its neighbours at the same address.

Threads are shared out: a client's requests wait for a thread of its own share, and take
none of the others'. The limits on requests and on bytes bound memory and disk, and
ordinary use stays far below: a browser opens six connections to one host, and a proxy
that speaks HTTP/2 to it passes on about a hundred requests at once.
"""

import asyncio
import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol
from weakref import WeakValueDictionary

from common.addresses import address_in, network_of

log = logging.getLogger(__name__)

Environ = dict[str, Any]
THREADS = 4
MEBIBYTE = 1024 * 1024
# A larger body or answer counts as this much: whoever exports a year of history can
# still open pages meanwhile.
MOST_COUNTED = 16 * MEBIBYTE


class RequestRules(Protocol):
    """What a product says about its requests, by their headers alone."""

    # So many of the threads one session or API key uses at a time.
    SESSION_THREADS: int
    # Whether only requests that take long use more than one.
    IS_ONE_BY_ONE: bool
    # The beginnings of the paths whose requests are signed, and have no session.
    SIGNED_PATHS: tuple[str, ...]
    HEALTH_PATHS: tuple[str, ...]

    def session_of(self, environ: Environ) -> str:
        """Return the session or API key that the request presents; empty for none."""

    def most_body(self, environ: Environ) -> int:
        """Return how many bytes of body to read, by the headers alone and without
        blocking; 0 means none, so that the headers decide the response.
        """

    def most_of_sender(self, environ: Environ) -> int:
        """Return the same for a large body. This may query the database."""


@dataclass(frozen=True)
class Share:
    """What one client may have in use at a time, and what is answered to whoever wants
    more.
    """

    requests: int
    held: int
    threads: int
    sentence: str
    status: int = 429
    # A request that takes longer does not count against `threads` any more.
    seconds: float | None = None
    # With more requests in progress, a thread stays unused for as long as the last one
    # used it.
    pauses_above: int | None = None


_SESSION = "This session or API key has too many requests in progress. Wait for their answers, then try again."
_ADDRESS = "Your network address has too many requests in progress. Try again in a few seconds."
_SESSION_SHARE = Share(requests=100, held=64 * MEBIBYTE, threads=2, sentence=_SESSION)
# Browsers open six connections to one host.
_TURN = replace(_SESSION_SHARE, threads=1, seconds=1.0, pauses_above=6)
# All clients of one address that have no session, such as people in an office who sign
# in.
_STRANGERS = Share(requests=100, held=64 * MEBIBYTE, threads=2, sentence=_ADDRESS)
# MultiMail's webhooks and Discord's interactions come from few addresses, and many at
# once.
_SIGNED = Share(requests=200, held=64 * MEBIBYTE, threads=3, sentence=_ADDRESS)
# An office with a hundred people is one address. One thread is left to all the others.
_ADDRESS_SHARE = Share(
    requests=300, held=192 * MEBIBYTE, threads=THREADS - 1, sentence=_ADDRESS
)
_HEALTH = Share(
    requests=16,
    held=MEBIBYTE,
    threads=1,
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
    """The request is answered without the application."""

    def __init__(
        self, status: int, code: str, sentence: str, *, retry_after: int = 0
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code
        self.sentence = sentence
        # Seconds; 0 where the same request would be refused again.
        self.retry_after = retry_after


class Usage:
    """What one session, one address or the whole process has in use."""

    def __init__(self, name: str, share: Share) -> None:
        self.name = name
        self.share = share
        self.requests = 0
        self.held = 0
        self.is_reported = False
        # It lets requests through in the order in which they came.
        self.threads = asyncio.Semaphore(share.threads)

    def refuse(self) -> Refused:
        """Return the exception, and log it for the first of many."""
        if not self.is_reported:
            log.warning(
                "requests refused",
                extra={"of": self.name, "requests": self.requests, "held": self.held},
            )
        self.is_reported = True
        status = self.share.status
        return Refused(status, "too_many_requests", self.share.sentence, retry_after=2)


class CountedRequest:
    """One request and what it uses, from its headers to the end of its answer."""

    def __init__(self, usages: list[Usage]) -> None:
        # The narrowest first.
        self._usages = usages
        self._is_counted = False
        self._sizes = {"body": 0, "answer": 0}
        self._held = 0
        # Since when it has a thread of each.
        self._with_thread: dict[Usage, float] = {}

    def begin(self) -> None:
        """Count the request. Raises Refused."""
        if self._is_counted:
            return
        for usage in self._usages:
            if usage.requests >= usage.share.requests:
                raise usage.refuse()
        for usage in self._usages:
            usage.requests += 1
        self._is_counted = True

    def end(self) -> None:
        """Count neither the request nor its bytes any more, whatever is said of it
        later.
        """
        for usage in self._usages:
            usage.held -= self._held
            if self._is_counted:
                usage.requests -= 1
        self.give_thread_back()
        self._usages = []

    def hold(self, part: Literal["body", "answer"], size: int) -> None:
        """Say how many bytes of the body are held now, or of the answer wait for the
        client.
        """
        self._sizes[part] = min(size, MOST_COUNTED)
        held = sum(self._sizes.values())
        for usage in self._usages:
            usage.held += held - self._held
        self._held = held

    def check_held(self) -> None:
        """Raise Refused while too much is held."""
        for usage in self._usages:
            if usage.held > usage.share.held:
                raise usage.refuse()

    async def take_thread(self) -> None:
        """Wait until a thread is free in every share.

        First in that of the session: then no session has more in its address's queue
        than that many.
        """
        for usage in self._usages:
            await usage.threads.acquire()
            loop = asyncio.get_running_loop()
            self._with_thread[usage] = loop.time()
            if usage.share.seconds is not None:
                loop.call_later(usage.share.seconds, self._give_back, usage)

    def give_thread_back(self) -> None:
        """Let the next one have the thread."""
        for usage in list(self._with_thread):
            self._give_back(usage)

    def _give_back(self, usage: Usage) -> None:
        # Long ones gave it back before.
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
    """The usages of a process. Only its event loop may use them."""

    def __init__(self, rules: RequestRules) -> None:
        self._rules = rules
        # A usage is forgotten when no request counts against it any more.
        self._known: WeakValueDictionary[str, Usage] = WeakValueDictionary()

    def request(self, environ: Environ) -> CountedRequest:
        """Return the request, with everything that it counts against."""
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
            # Where nobody counts against an address or the process: the launcher ends a
            # process that does not answer.
            yield "health", _HEALTH
            return
        address = network_of(address_in(environ))
        if path.startswith(self._rules.SIGNED_PATHS):
            yield f"signed {address}", _SIGNED
        elif session := self._rules.session_of(environ):
            # No secret is kept here.
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
