"""The children's log files: never unbounded, and their last lines where something went
wrong.
"""

import contextlib
import os
from pathlib import Path

LIMIT = 10 * 1024 * 1024


def rotate(log: Path, *, limit: int = LIMIT) -> bool:
    """Moves a log that is too long aside and empties it in place, since its writer
    keeps it open.

    A line written between the copy and the truncation is lost.
    """
    try:
        if log.stat().st_size <= limit:
            return False
    except OSError:
        return False
    with contextlib.suppress(OSError), log.open("r+b") as source:
        earlier = os.open(
            log.with_name(log.name + ".1"),
            os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC,
            0o600,
        )
        with open(earlier, "wb") as target:
            offset = 0
            while sent := os.sendfile(target.fileno(), source.fileno(), offset, LIMIT):
                offset += sent
        source.truncate(0)
    return True


def tail(log: Path, *, lines: int = 15) -> str:
    """The last lines of a log, for a message on the terminal."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            return "\n".join(
                file.read().decode(errors="replace").rstrip().splitlines()[-lines:]
            )
    except OSError:
        return ""


def last_error(log: Path) -> str:
    """The end of a log; of a traceback only its last sentence, since that is what was
    written for people.
    """
    text = tail(log, lines=400)
    if "Traceback (most recent call last):" not in text:
        return "\n".join(text.splitlines()[-15:])
    last = text.rpartition("Traceback (most recent call last):")[2].splitlines()
    sentences = [
        line for line in last if line and not line[0].isspace() and ": " in line
    ]
    return sentences[-1].partition(": ")[2] if sentences else "\n".join(last[-15:])
