"""Reads from the kernel how much processor time processes have used. So a benchmark
counts the servers alone, not the client that sends the requests.
"""

import os
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psycopg

# Milliseconds of one clock tick, the unit of /proc/PID/stat.
_TICK = 1000 / os.sysconf("SC_CLK_TCK")


def spent(roots: Iterable[int]) -> float:
    """Return the milliseconds of processor time that these processes and their
    descendants have used so far.
    """
    return sum(spent_by(pid) for pid in families(roots))


def families(roots: Iterable[int]) -> set[int]:
    """Return the ids of these processes and of all their descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                children.setdefault(int(_stat(folder)[1]), []).append(int(folder.name))
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        found.add(one := waiting.pop())
        waiting += children.get(one, [])
    return found


def started() -> set[int]:
    """Return all descendants of this process: in a benchmark, the servers."""
    return families([os.getpid()]) - {os.getpid()}


def postgres() -> int:
    """Return the id of PostgreSQL's main process, the parent of all its sessions. It
    must run on this machine.
    """
    with psycopg.connect(os.environ["DATABASE_URL"]) as database:
        row = database.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        return int(_stat(Path(f"/proc/{row[0]}"))[1])


def parser() -> int:
    """Return the id of the parser's program."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ["PARSER_SOCKET"])
        # The kernel's struct ucred; its first number is the id.
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(peer[:4], sys.byteorder)


def spent_by(pid: int) -> float:
    """Return the milliseconds of one process: of its threads, and (in whole ticks) of
    its children that ended. 0 if it has ended itself.
    """
    folder = Path(f"/proc/{pid}")
    with suppress(OSError):
        threads = [
            int((one / "schedstat").read_text().split()[0])
            for one in (folder / "task").iterdir()
        ]
        ended = sum(int(ticks) for ticks in _stat(folder)[13:15])
        return sum(threads) / 1e6 + ended * _TICK
    return 0.0


def _stat(folder: Path) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on. The name before them is
    left out, because it may hold spaces.
    """
    return (folder / "stat").read_text().rpartition(")")[2].split()
