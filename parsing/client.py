"""Sends bytes to the parser (`program.py`, a process of its own), and returns the bytes
of its answer, or raises an exception that says why there is none.
"""

import hashlib
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path

log = logging.getLogger(__name__)

# Seconds that a call of `parse` may take, all its tries together. The parser itself
# kills a request that takes 45 seconds.
PATIENCE = 60.0
# A parser that ended is started again by the launcher within this time. Until then, a
# failed connection is tried again.
_RESTART_SECONDS = 5.0
# In bytes.
_LARGEST_ANSWER = 256 * 1024 * 1024
_PIECE = 1024 * 1024
# In bytes, the largest request for which a connection is kept.
_SMALL = 64 * 1024


class ParserKilled(Exception):
    """Parsing these bytes failed: the process took too much time or memory, crashed, or
    gave an answer that is too large.
    """


class ParserUnavailable(Exception):
    """The parser does not run, or has too much to do. These bytes are not the cause:
    try again later.
    """


class ParserBusy(ParserUnavailable):
    """The parser runs, but had no time for these bytes, because others took all of it
    or these take long.
    """


# Whose bytes are parsed, and whether in haste, as a request's first line says it.
_source: ContextVar[str] = ContextVar("source", default="patient -")


@contextmanager
def from_source(
    *names: str, is_hurried: bool = False, stays: bool = False
) -> Iterator[None]:
    """Have what is parsed in the block count against these sources. Requests of sources
    that used little time lately come first.

    The first name is of whoever answers for the bytes, and is nothing that a stranger
    can choose: an API key, an address, a mailbox. The second may be; it divides the
    time of the first, and nobody else's who has the same second name.

    In haste, ParserBusy is raised at once for what takes long, and for a source that had
    a request killed lately while another one of it is run. The caller goes on with
    others.

    With `stays`, one process may read several of these requests. Only for sources of
    which all bytes come from the same owner: what some bytes do to the process may
    change how the next are read.
    """
    words = ["hurried" if is_hurried else "stays" if stays else "patient"]
    for one in names:
        name = f"{names[0]} {one}".encode(errors="replace")
        words.append(hashlib.sha256(name).hexdigest())
    token = _source.set(" ".join(words))
    try:
        yield
    finally:
        _source.reset(token)


def parse(job: str, content: bytes, *, patience: float = PATIENCE) -> bytes:
    """Return the answer of the job with this name for these bytes. Raises ParserKilled,
    ParserBusy or ParserUnavailable.

    Bytes that take longer than a quick request may are sent again as a slow one, which
    is run after all others.
    """
    deadline = time.monotonic() + patience
    for speed in ("quick", "slow"):
        result, why, answer = _ask(job, content, speed, deadline)
        if result == "answer":
            return answer
        log.warning(
            "parser killed",
            extra={"job": job, "reason": why, "size": len(content), "speed": speed},
        )
        if result == "killed":
            break
        if _source.get().startswith("hurried"):
            raise ParserBusy("It takes long to read.")
    raise ParserKilled(why)


def _ask(
    job: str, content: bytes, speed: str, deadline: float
) -> tuple[str, str, bytes]:
    """Send the request once. Return "answer" and the answer; or "slow" or "killed", and
    why the process was killed.
    """
    source = _source.get()
    kept = None
    if speed == "slow" or len(content) > _SMALL:
        # A process that stays ends its answer only when it has been idle.
        source = source.replace("stays", "patient")
    elif source.startswith("stays"):
        kept = _kept_for(job, source)
    head = f"{job} {len(content)} {speed} {source}\n".encode()
    received = b""
    try:
        if kept:
            # The process may have ended meanwhile, or another thread have taken it.
            with suppress(IndexError, ConnectionError):
                received = _exchange(kept.pop(), head, content, deadline, kept)
        if not received:
            received = _exchange(_connect(deadline), head, content, deadline, kept)
    except TimeoutError as error:
        raise ParserBusy("The program that reads messages is busy.") from error
    except OSError as error:
        raise ParserUnavailable(
            "The program that reads messages is being restarted."
        ) from error
    if len(received) > _LARGEST_ANSWER:
        return "killed", "too large an answer", b""
    status, _, body = received.partition(b"\n")
    result, _, size_or_reason = status.decode().partition(" ")
    if result == "answer" and len(body) == int(size_or_reason):
        return result, "", body
    if result == "answer":
        return "slow", "an answer that breaks off", b""
    if result in ("slow", "killed"):
        return result, size_or_reason, b""
    raise ParserUnavailable("The program that reads messages ended while it read one.")


@lru_cache(20)
def _kept_for(job: str, source: str) -> list[socket.socket]:
    """Return the connections to processes that stayed for this job and source. The 20
    lists that were used last are kept.
    """
    return []


def _exchange(
    connection: socket.socket,
    head: bytes,
    content: bytes,
    deadline: float,
    kept: list[socket.socket] | None,
) -> bytes:
    """Send a request and return what is answered, which is nothing if the process ended.
    With `kept`, the connection is put there for the next request.
    """
    received = bytearray()
    with connection:
        connection.settimeout(_time_left(deadline))
        connection.sendall(head)
        # To a request without content the answer may have come, and its end.
        if content:
            connection.sendall(content)
        while piece := connection.recv(_PIECE):
            received += piece
            # The program has not read the content, so the connection breaks next.
            if received == b"busy\n":
                raise TimeoutError
            if len(received) > _LARGEST_ANSWER:
                break
            if kept is not None:
                status, _, body = received.partition(b"\n")
                if status == b"answer %d" % len(body):
                    kept.append(connection.dup())
                    break
            connection.settimeout(_time_left(deadline))
    return bytes(received)


# Returns a connection to the parser. Waits a moment while it is being restarted.
def _connect(deadline: float) -> socket.socket:
    address = Path(os.environ["PARSER_SOCKET"])
    if os.environ.get("PARSER_LANE") == "pages":
        # The parser keeps this socket for the desk's pages, so that a person who opens
        # a page does not wait behind other work.
        address = address.with_name("pages.sock")
    began = time.monotonic()
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(_time_left(deadline))
            connection.connect(str(address))
            return connection
        except OSError as error:
            connection.close()
            is_starting = isinstance(error, ConnectionRefusedError | FileNotFoundError)
            if not is_starting or time.monotonic() > began + _RESTART_SECONDS:
                raise
            time.sleep(0.05)


def _time_left(deadline: float) -> float:
    # In seconds. Never 0, which would mean that a socket does not wait at all.
    return max(0.01, deadline - time.monotonic())
