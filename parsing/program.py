"""The parser: `python -I program.py FOLDER HEARTBEAT MODULE …`. It answers requests at
two Unix sockets, two at once.

It never looks at what it is sent. Each request gets a process of its own, forked from
this one, in which everything is imported already; that process gives up its rights,
runs one job and writes the answer. This one watches the time, kills, and says so. It
knows neither Django nor the desk's settings and secrets.
"""

import contextlib
import gc
import hashlib
import importlib
import math
import os
import selectors
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

# In isolated mode Python looks for modules among the installed ones only.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from parsing.confinement import leave_network_and_account, limit
from parsing.jobs import Job

AT_ONCE = 2
# The socket of the desk's pages, and that of everybody else, who get one of the two
# places: whatever comes in, a person who opens a message does not wait for it.
PAGES = "pages.sock"
OTHERS = "parser.sock"
# Elapsed seconds of one request, for a process that neither ends nor computes.
DEADLINE = 45.0
# Seconds between two signs of work for the launcher.
BEAT_EVERY = 5.0
# Exit statuses of a request's process.
_OUT_OF_MEMORY = 3
_FAILED = 4
_KNOWN = 5
_REASONS = {
    -signal.SIGKILL: "time or memory",
    _OUT_OF_MEMORY: "memory",
    _KNOWN: "killed before",
}
_HEAD = 200
_DIGEST = 32
_NAME = 60
# Of the bytes of a request, besides the memory that its job may use.
_COPIES = 3
# Requests over which a process was killed this often are not run again; of so many the
# digests are kept.
MOST_KILLS = 2
MOST_KEPT = 10_000


@dataclass
class Running:
    """One request's process."""

    pid: int
    watch: int
    told: int
    connection: socket.socket
    ends: float
    is_for_page: bool
    is_late: bool = False


class Parser:
    """Accepts requests while a place is free; the others wait at their socket."""

    def __init__(
        self,
        pages: socket.socket,
        others: socket.socket,
        heartbeat: int,
        jobs: dict[str, Job],
    ) -> None:
        self._pages = pages
        self._others = others
        self._heartbeat = heartbeat
        self._jobs = jobs
        self._running: dict[int, Running] = {}
        # How often a process was killed over a request, by its digest.
        self._kills: dict[bytes, int] = {}
        self._selector = selectors.DefaultSelector()
        # Address space that the program itself takes.
        self._own_memory = int(
            Path("/proc/self/statm").read_text().split()[0]
        ) * os.sysconf("SC_PAGESIZE")

    def serve(self) -> None:
        """Answer requests for ever."""
        while True:
            is_free = len(self._running) < AT_ONCE
            self._watch(self._pages, is_free)
            self._watch(
                self._others,
                is_free and all(one.is_for_page for one in self._running.values()),
            )
            # On a full disk too: the file's one byte is written again.
            with contextlib.suppress(OSError):
                os.pwrite(self._heartbeat, b".", 0)
            ends = [one.ends for one in self._running.values() if not one.is_late]
            pause = min(ends, default=math.inf) - time.monotonic() + 0.01
            for key, _ in self._selector.select(min(max(0.01, pause), BEAT_EVERY)):
                if key.fd in self._running:
                    self._end(self._running.pop(key.fd))
                elif len(self._running) < AT_ONCE:
                    self._accept(key.fileobj)  # type: ignore[arg-type]
            for one in self._running.values():
                if time.monotonic() > one.ends and not one.is_late:
                    one.is_late = True
                    os.kill(one.pid, signal.SIGKILL)

    def _watch(self, listener: socket.socket, accepts: bool) -> None:
        is_watched = listener in self._selector.get_map()
        if accepts and not is_watched:
            self._selector.register(listener, selectors.EVENT_READ)
        if is_watched and not accepts:
            self._selector.unregister(listener)

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        told, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._pages.close()
            self._others.close()
            os.close(told)
            self._answer(connection, tell)
        os.close(tell)
        watch = os.pidfd_open(pid)
        self._selector.register(watch, selectors.EVENT_READ)
        ends = time.monotonic() + DEADLINE
        self._running[watch] = Running(
            pid, watch, told, connection, ends, is_for_page=listener is self._pages
        )

    def _end(self, one: Running) -> None:
        """Reap a process that ended, and say why where it did not answer."""
        self._selector.unregister(one.watch)
        os.close(one.watch)
        told = os.read(one.told, _DIGEST + _NAME)
        os.close(one.told)
        digest = told[:_DIGEST]
        error = told[_DIGEST:].decode("ascii", "replace")
        _, status = os.waitpid(one.pid, 0)
        with one.connection as connection:
            if status and digest:
                self._kills[digest] = self._kills.pop(digest, 0) + 1
                if len(self._kills) > MOST_KEPT:
                    del self._kills[next(iter(self._kills))]
                code = os.waitstatus_to_exitcode(status)
                why = ascii(error) if error else _REASONS.get(code, f"a crash ({code})")
                # Never wait for the client.
                with contextlib.suppress(OSError):
                    connection.send(f"killed {why}\n".encode(), socket.MSG_DONTWAIT)

    def _answer(self, connection: socket.socket, tell: int) -> NoReturn:
        """Run one job in this process, which ends with it. The job's bytes are known by
        their digest from then on.
        """
        status = _FAILED
        try:
            request = connection.makefile("rb")
            name, _, digits = request.readline(_HEAD).decode().rpartition(" ")
            if not digits.endswith("\n"):
                # The client went away.
                os._exit(0)
            size = int(digits)
            job = self._jobs[name]
            memory = self._own_memory + job.memory + _COPIES * size
            limit(seconds=job.seconds, memory=memory)
            content = request.read(size)
            if len(content) < size:
                os._exit(0)
            digest = hashlib.blake2b(
                name.encode() + b"\0" + content, digest_size=_DIGEST
            ).digest()
            os.write(tell, digest)
            if self._kills.get(digest, 0) >= MOST_KILLS:
                os._exit(_KNOWN)
            # Whether the client still waits; it sends nothing after its request.
            with contextlib.suppress(BlockingIOError):
                if not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    os._exit(0)
            answer = job.run(content)
            connection.sendall(b"answer %d\n" % len(answer))
            connection.sendall(answer)
            status = 0
        except MemoryError:
            status = _OUT_OF_MEMORY
        except BaseException as error:  # noqa: BLE001 -- whatever it is, it is told by the status
            # Only its kind: its text may hold what somebody wrote.
            os.write(tell, type(error).__name__.encode()[:_NAME])
        finally:
            os._exit(status)


def _listen(path: Path) -> socket.socket:
    """Return a socket that appears under its name when it listens."""
    listener = socket.socket(socket.AF_UNIX)
    unready = path.with_suffix(".new")
    unready.unlink(missing_ok=True)
    listener.bind(str(unready))
    listener.listen(128)
    unready.rename(path)
    return listener


def main(folder: str, heartbeat: str, *modules: str) -> None:
    """Import the modules, and answer at the sockets."""
    jobs: dict[str, Job] = {}
    for module in modules:
        jobs |= importlib.import_module(module).JOBS
    os.umask(0o177)
    pages, others = (_listen(Path(folder, name)) for name in (PAGES, OTHERS))
    descriptor = os.open(heartbeat, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    leave_network_and_account()
    # Everything so far lasts: forked processes then share it instead of copying it.
    gc.collect()
    gc.freeze()
    Parser(pages, others, descriptor, jobs).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
