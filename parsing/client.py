"""Sends bytes to the parser (`program.py`, a process of its own), and returns the bytes
of its answer, or raises an exception that says why there is none.
"""

import logging
import os
import socket
import time
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


class ParserKilled(Exception):
    """Parsing these bytes failed at every try: the process took too much time or
    memory, crashed, or gave an answer that is cut off or too large.
    """


class ParserUnavailable(Exception):
    """The parser does not run, or has too much to do. These bytes are not the cause:
    try again later.
    """


def parse(
    job: str, content: bytes, *, tries: int = 2, patience: float = PATIENCE
) -> bytes:
    """Return the answer of the job with this name for these bytes. Raises ParserKilled
    or ParserUnavailable.

    If the process was killed, the request is sent again, because the machine may only
    have been short of memory for a moment.
    """
    deadline = time.monotonic() + patience
    for attempt in range(1, tries + 1):
        answer, why = _ask(job, content, deadline)
        if not why:
            return answer
        log.warning(
            "parser killed",
            extra={"job": job, "reason": why, "size": len(content), "attempt": attempt},
        )
    raise ParserKilled(why)


def _ask(job: str, content: bytes, deadline: float) -> tuple[bytes, str]:
    """Send the request once. Return the answer and an empty text, or no bytes and why
    the process was killed.
    """
    try:
        with _connect(deadline) as connection:
            connection.settimeout(_time_left(deadline))
            connection.sendall(f"{job} {len(content)}\n".encode() + content)
            received = bytearray()
            while piece := connection.recv(_PIECE):
                received += piece
                if len(received) > _LARGEST_ANSWER:
                    return b"", "too large an answer"
                connection.settimeout(_time_left(deadline))
    except OSError as error:
        raise ParserUnavailable(
            "The program that reads messages is busy or being restarted."
        ) from error
    status, _, body = bytes(received).partition(b"\n")
    result, _, size_or_reason = status.partition(b" ")
    if result == b"answer" and len(body) == int(size_or_reason):
        return body, ""
    if result == b"answer":
        return b"", "an answer that breaks off"
    if result == b"killed":
        return b"", size_or_reason.decode()
    raise ParserUnavailable("The program that reads messages ended while it read one.")


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
