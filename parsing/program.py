"""The parser: `python -I program.py FOLDER HEARTBEAT MODULE …`. It answers requests at
two Unix sockets in FOLDER, at most two of each at the same time. The modules define its
jobs; the launcher watches the file HEARTBEAT.

Of a request the program itself reads only the first line, which the client wrote. It
forks a process for each, in which all modules are imported already. That process gives
up its rights, runs one job and writes the answer. The program kills it if it takes too
long, and then tells the client. It knows neither Django nor the desk's settings and
secrets.

A fork takes longer than a small job. So a request can ask that its process stays: for
some seconds that process runs the same job for further requests of the same sources,
which come over the same connection. Each of them waits for its turn like all others.

A request is quick at first: it gets a second of processor time. If that is not enough,
the client sends it once more as a slow request, which gets the time of its job. Slow
requests run one at a time, after all quick ones. Among equals, the request whose
sources used the least time lately is next.
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
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

# In isolated mode Python looks for modules among the installed ones only.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from parsing.confinement import leave_network_and_account, limit
from parsing.jobs import Job

# One socket is for the desk's pages, one for everything else, so a person who opens a
# message does not wait behind other work. Each has so many processes, of which only one
# may run a slow request.
PAGES = "pages.sock"
OTHERS = "parser.sock"
AT_ONCE = 2
# Processor time of a quick request, in seconds.
QUICK = 1
# How many requests wait; others are in the sockets' backlogs.
MOST_WAITING = 200
# Seconds to wait for the first line of a request.
HEAD_SECONDS = 0.5
# What a source used counts half after so many seconds.
HALF_LIFE = 60.0
# In seconds, what a killed request costs its sources in addition to what it used: so
# much that half of it shows for a while that there was one.
KILLED = 400.0
# Elapsed seconds of one request: the limit for a process that waits without using
# processor time.
DEADLINE = 45.0
# How long a process stays without a request, in seconds, and how many do at a time.
IDLE_SECONDS = 5.0
MOST_IDLE = 8
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
# A process reports this when it has answered and stays.
_DONE = b"."
# The program has fewer open descriptors than this.
_DESCRIPTORS = 1024
# Lengths in bytes: of the line before a request's content, at most; of a digest; of an
# exception's name, at most.
_HEAD = 200
_DIGEST = 32
_NAME = 60
# A process may use so many times the size of its request, in addition to the memory of
# its job.
_COPIES = 3
# How many killed requests are remembered, by their digests, and how many sources.
MOST_KEPT = 10_000


@dataclass(eq=False)
class Request:
    """An accepted request, with what its first line says."""

    connection: socket.socket
    is_for_page: bool
    # The name of its job.
    name: str
    # Length of the content in bytes.
    size: int
    is_slow: bool
    # "hurried" if its client does other work rather than wait behind a hostile source,
    # "stays" if its process stays for further requests.
    manner: str
    # Hashes of names: first whoever answers for the content, such as an API key, an
    # address or a mailbox; then perhaps a part of that, which a stranger may choose.
    sources: list[str]


@dataclass(eq=False)
class Process:
    """A process, and the request that it answers. If it stays, further requests differ
    from the first in their content only.
    """

    request: Request
    pid: int
    # The program's end of a connection to it, which ends when it ends.
    channel: socket.socket
    # When it is killed, by the monotonic clock.
    ends: float
    # Whether its request is run. If not, it stays, and its next request waits if it has
    # reported one.
    runs: bool = True
    # What it reported of the request: its digest, then the name of an exception.
    reports: list[bytes] = field(default_factory=list)


class Parser:
    """Accepts requests, and chooses which of those that wait is run next."""

    def __init__(
        self,
        pages: socket.socket,
        others: socket.socket,
        heartbeat: int,
        jobs: dict[str, Job],
    ) -> None:
        self._pages = pages
        self._listeners = (pages, others)
        self._heartbeat = heartbeat
        self._jobs = jobs
        self._waiting: list[Request] = []
        self._processes: dict[Request, Process] = {}
        # By the digest of a request: 1 if a process was killed over it as a quick
        # request, 2 as a slow one.
        self._kills: dict[bytes, int] = {}
        # How many seconds each source used, and up to when they were counted.
        self._used: dict[str, tuple[float, float]] = {}
        self._selector = selectors.DefaultSelector()
        # Bytes of address space that the program itself takes.
        self._own_memory = int(
            Path("/proc/self/statm").read_text().split()[0]
        ) * os.sysconf("SC_PAGESIZE")

    def serve(self) -> None:
        """Answer requests for ever."""
        while True:
            self._start_next()
            self._watch(len(self._waiting) < MOST_WAITING)
            # Overwriting the file's one byte works on a full disk too.
            with contextlib.suppress(OSError):
                os.pwrite(self._heartbeat, b".", 0)
            ends = [one.ends for one in self._processes.values()]
            pause = min(ends, default=math.inf) - time.monotonic() + 0.01
            for key, _ in self._selector.select(min(max(0.01, pause), BEAT_EVERY)):
                key.data(key.fileobj)
            for one in [*self._processes.values()]:
                if time.monotonic() > one.ends and one.runs:
                    one.ends = math.inf
                    os.kill(one.pid, signal.SIGKILL)
                elif time.monotonic() > one.ends:
                    # What it may report from now on counts as no kill.
                    self._end(one)

    # Starts or stops accepting connections.
    def _watch(self, accepts: bool) -> None:
        for listener in self._listeners:
            is_watched = listener in self._selector.get_map()
            if accepts and not is_watched:
                self._selector.register(listener, selectors.EVENT_READ, self._accept)
            if is_watched and not accepts:
                self._selector.unregister(listener)

    def _accept(self, listener: socket.socket) -> None:
        """Accept a connection, and have its request wait. Its first line is read here,
        and left to be read by its process too.
        """
        connection, _ = listener.accept()
        # The client sends the line as a whole, as soon as it is connected.
        connection.settimeout(HEAD_SECONDS)
        try:
            head, _, _ = connection.recv(_HEAD, socket.MSG_PEEK).partition(b"\n")
            name, size, speed, manner, *sources = head.decode().split(" ")
            request = Request(
                connection,
                listener is self._pages,
                name,
                int(size),
                speed == "slow",
                manner,
                sources,
            )
        except (OSError, ValueError):
            connection.close()
            return
        connection.settimeout(None)
        self._waiting.append(request)

    def _start_next(self) -> None:
        """Run the requests for which a process is free, and turn away those that must
        not wait.
        """
        kept = []
        ahead = [one.request for one in self._processes.values() if one.runs]
        for request in sorted(self._waiting, key=self._order):
            lane = [one for one in ahead if one.is_for_page == request.is_for_page]
            alike = [one.sources[0] for one in lane if one.is_slow == request.is_slow]
            is_free = len(lane) < AT_ONCE
            source = request.sources[0]
            if request.is_slow:
                is_free = is_free and not alike
                # Of the others, the desk's worker must not have all its threads wait.
                is_too_many = len(alike) > 1 and not request.is_for_page
            else:
                had_kill = self._used_by(source) > KILLED / 2
                is_hurried = request.manner == "hurried"
                is_too_many = is_hurried and had_kill and source in alike
            if is_too_many:
                _tell(request, "busy")
                continue
            ahead.append(request)
            if is_free:
                self._start(request)
            else:
                kept.append(request)
        self._waiting = kept

    # The request with the lowest is next. Sorting leaves equal ones as they came.
    def _order(self, request: Request) -> tuple[bool, list[float]]:
        return request.is_slow, [self._used_by(source) for source in request.sources]

    # Returns the seconds that a source used; the longer ago, the less they count.
    def _used_by(self, source: str) -> float:
        seconds, at = self._used.get(source, (0.0, 0.0))
        return float(seconds * 0.5 ** ((time.monotonic() - at) / HALF_LIFE))

    # Has a request answered by the process that stayed for it, or by a new one.
    def _start(self, request: Request) -> None:
        ends = time.monotonic() + DEADLINE
        if process := self._processes.get(request):
            process.runs = True
            process.ends = ends
            self._let_run(process)
            return
        channel, other_end = socket.socketpair(type=socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            # A client reads its answer until every copy of its connection is closed.
            kept = sorted([request.connection.fileno(), other_end.fileno()])
            for before, after in pairwise([2, *kept, _DESCRIPTORS]):
                os.closerange(before + 1, after)
            self._answer(request, other_end)
        other_end.close()
        process = Process(request, pid, channel, ends)
        self._processes[request] = process
        hear = partial(self._hear, process)
        self._selector.register(channel, selectors.EVENT_READ, hear)

    # Tells a process how often another one was killed over the same bytes.
    def _let_run(self, process: Process) -> None:
        kills = self._kills.get(process.reports[0], 0)
        # It may have ended, or not read what it was sent. The program never waits.
        with contextlib.suppress(OSError):
            process.channel.send(bytes([kills]), socket.MSG_DONTWAIT)

    def _hear(self, process: Process, channel: socket.socket) -> None:
        """Read what a process reports: a digest before it runs, the name of an exception,
        that it stays; or nothing if it ended.
        """
        try:
            report = channel.recv(_NAME)
        except ConnectionResetError:
            report = b""
        if not report:
            self._end(process)
        elif report == _DONE and process.runs:
            process.runs = False
            process.reports.clear()
            process.ends = time.monotonic() + IDLE_SECONDS
            others = [one for one in self._processes.values() if not one.runs]
            idle = [one for one in others if not one.reports]
            if len(idle) > MOST_IDLE:
                min(idle, key=lambda one: one.ends).ends = 0.0
        elif process.reports:
            process.reports[1:] = [report]
        else:
            process.reports.append(report)
            if process.runs:
                self._let_run(process)
            else:
                process.ends = math.inf
                self._waiting.append(process.request)

    def _end(self, ended: Process) -> None:
        """Reap a process that ended, and count its time. If it did not answer, tell the
        client why.
        """
        request = ended.request
        del self._processes[request]
        if request in self._waiting:
            self._waiting.remove(request)
        self._selector.unregister(ended.channel)
        ended.channel.close()
        # It may have closed its end without ending.
        os.kill(ended.pid, signal.SIGKILL)
        _, status, usage = os.wait4(ended.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        seconds = usage.ru_utime + usage.ru_stime
        if status and ended.reports:
            digest, *errors = ended.reports
            is_over = request.is_slow or self._kills.get(digest) == 2
            _remember(self._kills, digest, 2 if is_over else 1)
            if code != _KILLED_BEFORE:
                seconds += KILLED
            why = _REASONS.get(code, f"a crash ({code})")
            for error in errors:
                why = ascii(error.decode("ascii", "replace"))
            _tell(request, f"{'killed' if is_over else 'slow'} {why}")
        request.connection.close()
        for source in request.sources:
            used = self._used_by(source) + seconds
            _remember(self._used, source, (used, time.monotonic()))

    def _answer(self, request: Request, channel: socket.socket) -> NoReturn:
        """In the forked process: read the request, run its job, write the answer, end.
        If it stays, do so again for the next request.

        The request's digest is reported before the job runs, so that the program can
        count a kill, and say whether there was one.
        """
        status = _FAILED
        connection = request.connection
        try:
            reader = connection.makefile("rb")
            job = self._jobs[request.name]
            seconds = job.seconds if request.is_slow else min(job.seconds, QUICK)
            # The limit is of all requests of a process. Once it has used a quick
            # request's time it takes no further one, so that each has as much.
            stays = request.manner == "stays"
            seconds += QUICK * stays
            memory = self._own_memory + job.memory + _COPIES * request.size
            limit(seconds=seconds, memory=memory)
            while status:
                words = reader.readline(_HEAD).decode().split()
                if words[:1] + words[4:] != [request.name, *request.sources]:
                    # The client has no further request, or sent one of others.
                    os._exit(0)
                content = reader.read(int(words[1]))
                digest = hashlib.blake2b(
                    request.name.encode() + b"\0" + content, digest_size=_DIGEST
                ).digest()
                channel.send(digest)
                if channel.recv(1)[0] > request.is_slow:
                    os._exit(_KILLED_BEFORE)
                # Do not run the job if the client went away: then its stream has ended.
                # A client that waits sends nothing more.
                with contextlib.suppress(BlockingIOError):
                    if not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                        os._exit(0)
                answer = job.run(content)
                # The job did no harm: a client that has gone meanwhile counts as no
                # kill.
                status = 0
                connection.sendall(b"answer %d\n" % len(answer))
                connection.sendall(answer)
                if stays and time.process_time() < QUICK:
                    channel.send(_DONE)
                    status = _FAILED
        except MemoryError:
            status = _OUT_OF_MEMORY
        except BaseException as error:  # noqa: BLE001 -- the exit status reports it
            # Only the name of its class: its text may quote the message.
            channel.send(type(error).__name__.encode()[:_NAME])
        finally:
            os._exit(status)


# Sends a line to the client and closes the connection. Never waits for the client.
def _tell(request: Request, line: str) -> None:
    with request.connection as connection, contextlib.suppress(OSError):
        connection.send(f"{line}\n".encode(), socket.MSG_DONTWAIT)


# Sets a value of a table, which forgets the oldest ones.
def _remember(table: dict[Any, Any], key: Any, value: Any) -> None:
    table.pop(key, None)
    table[key] = value
    if len(table) > MOST_KEPT:
        del table[next(iter(table))]


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
