"""Asks the parser. The caller gets the answer's bytes, or an exception that says why
there is none.
"""

import logging
import os
import socket
import time
from pathlib import Path

log = logging.getLogger(__name__)

# Seconds that a request waits for a process and for its answer: the parser ends each
# one long before.
PATIENCE = 60.0
# The launcher starts a parser that ended again within this time.
_RESTART_SECONDS = 5.0
_LARGEST_ANSWER = 256 * 1024 * 1024
_PIECE = 1024 * 1024


class ParserKilled(Exception):
    """The bytes took more time or memory than they may, or made the process crash, each
    time they were tried.
    """


class ParserUnavailable(Exception):
    """The parser does not run, or has too much to do. That is not the doing of these
    bytes: try again later.
    """


def parse(
    job: str, content: bytes, *, tries: int = 2, patience: float = PATIENCE
) -> bytes:
    """Return the answer of a job for these bytes. Raises ParserKilled or
    ParserUnavailable.

    A process that was killed is tried once more, so that a passing shortage is not
    taken for hostile bytes.
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
    """Return the answer, or why there is none."""
    try:
        with _connect(deadline) as connection:
            connection.settimeout(_left(deadline))
            connection.sendall(f"{job} {len(content)}\n".encode() + content)
            received = bytearray()
            while piece := connection.recv(_PIECE):
                received += piece
                if len(received) > _LARGEST_ANSWER:
                    return b"", "too large an answer"
                connection.settimeout(_left(deadline))
    except OSError as error:
        raise ParserUnavailable(
            "The program that reads messages is busy or being restarted."
        ) from error
    status, _, body = bytes(received).partition(b"\n")
    word, _, rest = status.partition(b" ")
    if word == b"answer" and len(body) == int(rest):
        return body, ""
    if word == b"answer":
        return b"", "an answer that breaks off"
    if word == b"killed":
        return b"", rest.decode()
    raise ParserUnavailable("The program that reads messages ended while it read one.")


def _connect(deadline: float) -> socket.socket:
    address = Path(os.environ["PARSER_SOCKET"])
    if os.environ.get("PARSER_LANE") == "pages":
        # Only the desk's pages ask there.
        address = address.with_name("pages.sock")
    began = time.monotonic()
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(_left(deadline))
            connection.connect(str(address))
            return connection
        except OSError as error:
            connection.close()
            is_starting = isinstance(error, ConnectionRefusedError | FileNotFoundError)
            if not is_starting or time.monotonic() > began + _RESTART_SECONDS:
                raise
            time.sleep(0.05)


def _left(deadline: float) -> float:
    return max(0.01, deadline - time.monotonic())
