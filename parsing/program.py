"""The parser: `python -I program.py FOLDER HEARTBEAT MODULE …`. It answers requests at
two Unix sockets in FOLDER, at most two at the same time. The modules define its jobs;
the launcher watches the file HEARTBEAT.

The program itself never reads a request. It forks a process for each, in which all
modules are imported already. That process gives up its rights, runs one job and writes
the answer. The program kills it if it takes too long, and then tells the client. It
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

# How many requests run at the same time.
AT_ONCE = 2
# One socket is for the desk's pages, one for everything else. Only one of the two
# processes may serve the second socket, so a person who opens a message does not wait
# behind other work.
PAGES = "pages.sock"
OTHERS = "parser.sock"
# Elapsed seconds of one request: the limit for a process that waits without using
# processor time.
DEADLINE = 45.0
# Most seconds between two changes of the heartbeat file.
BEAT_EVERY = 5.0
# Exit statuses of a request's process.
_OUT_OF_MEMORY = 3
_FAILED = 4
_KILLED_BEFORE = 5
# What the client is told, by exit status.
_REASONS = {
    -signal.SIGKILL: "time or memory",
    _OUT_OF_MEMORY: "memory",
    _KILLED_BEFORE: "killed before",
}
# Lengths in bytes: of the line before a request's content, at most; of a digest; of an
# exception's name, at most.
_HEAD = 200
_DIGEST = 32
_NAME = 60
# A process may use so many times the size of its request, in addition to the memory of
# its job.
_COPIES = 3
# A request is not run again if a process was killed over it this often.
MOST_KILLS = 2
# How many of these requests are remembered, by their digests.
MOST_KEPT = 10_000


@dataclass
class Running:
    """One request's process."""

    pid: int
    # A descriptor that becomes readable when the process ends.
    watch: int
    # The end of a pipe from which the process's report is read: the digest of its
    # request, then the name of an exception.
    told: int
    connection: socket.socket
    # By the monotonic clock.
    ends: float
    is_for_page: bool
    # Whether it was killed because its time was over.
    is_late: bool = False


class Parser:
    """Accepts requests while fewer than AT_ONCE run; others wait at their socket."""

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
        # Bytes of address space that the program itself takes.
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
            # Overwriting the file's one byte works on a full disk too.
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

    # Starts or stops accepting connections at this socket.
    def _watch(self, listener: socket.socket, accepts: bool) -> None:
        is_watched = listener in self._selector.get_map()
        if accepts and not is_watched:
            self._selector.register(listener, selectors.EVENT_READ)
        if is_watched and not accepts:
            self._selector.unregister(listener)

    # Accepts one connection, and forks the process that answers its request.
    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        report_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._pages.close()
            self._others.close()
            os.close(report_end)
            # A client reads its answer until every copy of its connection is closed.
            for one in self._running.values():
                one.connection.close()
                os.close(one.told)
                os.close(one.watch)
            self._answer(connection, write_end)
        os.close(write_end)
        watch = os.pidfd_open(pid)
        self._selector.register(watch, selectors.EVENT_READ)
        ends = time.monotonic() + DEADLINE
        self._running[watch] = Running(
            pid,
            watch,
            report_end,
            connection,
            ends,
            is_for_page=listener is self._pages,
        )

    def _end(self, ended: Running) -> None:
        """Reap a process that ended. If it did not answer, tell the client why, and
        count the kill.
        """
        self._selector.unregister(ended.watch)
        os.close(ended.watch)
        report = os.read(ended.told, _DIGEST + _NAME)
        os.close(ended.told)
        digest = report[:_DIGEST]
        error = report[_DIGEST:].decode("ascii", "replace")
        _, status = os.waitpid(ended.pid, 0)
        with ended.connection as connection:
            if status and digest:
                self._kills[digest] = self._kills.pop(digest, 0) + 1
                if len(self._kills) > MOST_KEPT:
                    del self._kills[next(iter(self._kills))]
                code = os.waitstatus_to_exitcode(status)
                why = ascii(error) if error else _REASONS.get(code, f"a crash ({code})")
                # Never wait for the client.
                with contextlib.suppress(OSError):
                    connection.send(f"killed {why}\n".encode(), socket.MSG_DONTWAIT)

    def _answer(self, connection: socket.socket, write_end: int) -> NoReturn:
        """In the forked process: read the request, run its job, write the answer, end.

        The request's digest goes through the pipe before the job runs, so that the
        program can count a kill.
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
            os.write(write_end, digest)
            if self._kills.get(digest, 0) >= MOST_KILLS:
                os._exit(_KILLED_BEFORE)
            # Do not run the job if the client went away: then its stream has ended. A
            # client that waits sends nothing more.
            with contextlib.suppress(BlockingIOError):
                if not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    os._exit(0)
            answer = job.run(content)
            # The job did no harm: a client that has gone meanwhile counts as no kill.
            status = 0
            connection.sendall(b"answer %d\n" % len(answer))
            connection.sendall(answer)
        except MemoryError:
            status = _OUT_OF_MEMORY
        except BaseException as error:  # noqa: BLE001 -- the exit status reports it
            # Only the name of its class: its text may quote the message.
            os.write(write_end, type(error).__name__.encode()[:_NAME])
        finally:
            os._exit(status)


def _listen(path: Path) -> socket.socket:
    """Return a socket that listens at this path. The path appears only when it does."""
    listener = socket.socket(socket.AF_UNIX)
    unready = path.with_suffix(".new")
    unready.unlink(missing_ok=True)
    listener.bind(str(unready))
    listener.listen(128)
    unready.rename(path)
    return listener


def main(folder: str, heartbeat: str, *modules: str) -> None:
    """Import the modules of the jobs, and answer requests for ever."""
    jobs: dict[str, Job] = {}
    for module in modules:
        jobs |= importlib.import_module(module).JOBS
    os.umask(0o177)
    pages, others = (_listen(Path(folder, name)) for name in (PAGES, OTHERS))
    descriptor = os.open(heartbeat, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    leave_network_and_account()
    # The collector leaves alone what exists now, so forked processes share its memory
    # instead of copying it.
    gc.collect()
    gc.freeze()
    Parser(pages, others, descriptor, jobs).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
