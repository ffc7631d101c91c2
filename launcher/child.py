"""The child processes of the launcher, including the embedded servers: how each is
started, watched, restarted after a pause, and ended with its descendants; and their log
files, which are cut when they grow too long.

The caller must hold the lock of the data folder, so that no other launcher starts
servers in it.
"""

import contextlib
import os
import signal
import stat
import subprocess
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher import orphans
from launcher.console import LaunchError
from launcher.paths import ROOT
from launcher.processes import Process

# The launcher checks each process every 20 s. After so many checks in a row without a
# sign of life, a process counts as hanging. Checks are counted instead of time, because
# the launcher itself may have been suspended.
SILENT_LOOKS = 3


class Heartbeat:
    """The heartbeat file of one process, seen from the launcher."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._last = 0

    def has_beaten(self) -> bool:
        """Whether the file has changed since the last call. Only a change of its time
        counts, because the clock may jump.
        """
        try:
            beat = self.file.stat().st_mtime_ns
        except OSError:
            beat = 0
        has_beaten = beat != self._last
        self._last = beat
        return has_beaten


# The longest path of the folder for sockets, in bytes: the path of a Unix socket has at
# most 107, and the longest name in the folder is ".s.PGSQL.5432.lock".
_LONGEST_FOLDER = 107 - len("/.s.PGSQL.5432.lock")
# In bytes.
LOG_LIMIT = 10 * 1024 * 1024
# Whether children write to this process's output, as in a container, whose runtime
# keeps it, and not to files.
LOGS_TO_STDOUT = os.environ.get("LOG_TO") == "stdout"
# How many starts each log is kept for.
STARTS_KEPT = 5
# In seconds. If a process ends earlier, that counts as a failed start.
_SHORT_LIFE = 10.0
# The most seconds to wait before a process is started again.
_LONGEST_PAUSE = 10.0


def spawn(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    death_signal: int,
    folder: Path = ROOT,
    account: Mapping[str, Any] | None = None,
) -> "subprocess.Popen[bytes]":
    """Starts a process that writes to this log (see LOGS_TO_STDOUT) and gets
    `death_signal` when the launcher ends. It has a session of its own, so that Ctrl-C
    reaches only the launcher. `account`: arguments of Popen that choose the user.
    """
    launcher = os.getpid()
    if LOGS_TO_STDOUT:
        descriptor = os.dup(1)
    else:
        # Opened for appending, because a log that has grown too long is emptied in
        # place.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(log, flags, 0o600)
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            preexec_fn=lambda: orphans.die_with_parent(death_signal, parent=launcher),
            **(account or {}),
        )
    finally:
        os.close(descriptor)


def run_to_its_end(command: Sequence[str], error: str, **options: Any) -> None:
    """Runs a program and waits for its end. If it fails, raises LaunchError with the
    sentence `error` and the end of the program's output.
    """
    result = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        **options,
    )
    if result.returncode:
        output = result.stdout.strip().splitlines()
        raise LaunchError(error, details="\n".join(output[-8:]))


class Child:
    """One process of the table: starts it, and remembers how often it ended early."""

    def __init__(
        self, process: Process, *, environment: Mapping[str, str], logs: Path
    ) -> None:
        self.plan = process
        self.name = process.name
        self.log = logs / f"{process.name}.log"
        self.short_lives = 0
        self.running: subprocess.Popen[bytes] | None = None
        self._heartbeat = Heartbeat(logs / f"{process.name}.heartbeat")
        self._environment = {**environment, **process.environment}
        if process.has_heartbeat:
            self._environment["HEARTBEAT_FILE"] = str(self._heartbeat.file)
        self.started = 0.0
        self._not_before = 0.0
        self._silent_looks = 0

    def start(self) -> None:
        """Starts the process. It is killed when the launcher dies; the database shows
        which work it had not finished.
        """
        self.started = time.monotonic()
        self._silent_looks = 0
        self.running = spawn(
            self.plan.command,
            environment=self._environment,
            log=self.log,
            death_signal=signal.SIGKILL,
        )

    def take_end(self) -> str | None:
        """If the process has ended, returns how, ends its descendants, which may still
        hold its port, and plans the next start. Otherwise returns None.
        """
        if not self.running or (status := self.running.poll()) is None:
            return None
        orphans.end_group(self.running.pid)
        self.running = None
        self.plan_next_start()
        return f"signal {-status}" if status < 0 else f"status {status}"

    def is_due(self) -> bool:
        """Whether the process should be started now: it is down and its pause is over."""
        return not self.running and time.monotonic() >= self._not_before

    def end_if_hanging(self) -> bool:
        """Checks once whether the process beats and answers. Kills it, and returns
        True, if it did not at SILENT_LOOKS checks in a row.
        """
        if not self.running or time.monotonic() - self.started < _SHORT_LIFE:
            return False
        is_silent = (
            self.plan.has_heartbeat and not self._heartbeat.has_beaten()
        ) or any(check.is_silent() for check in self.plan.checks)
        self._silent_looks = self._silent_looks + 1 if is_silent else 0
        if self._silent_looks < SILENT_LOOKS:
            return False
        orphans.end_group(self.running.pid)
        return True

    def plan_next_start(self) -> None:
        """Sets when to start again, after the process has ended or could not be
        started.
        """
        lived = time.monotonic() - self.started
        self.short_lives = self.short_lives + 1 if lived < _SHORT_LIFE else 0
        self._not_before = time.monotonic() + pause_before_start(self.short_lives)

    def has_ended(self) -> bool:
        """Whether the process is not running (any more)."""
        return not self.running or self.running.poll() is not None

    def end_now(self) -> None:
        """Kills the whole process group, so also children that outlive the process."""
        if self.running:
            orphans.end_group(self.running.pid)
            self.running.wait()
            self.running = None


def pause_before_start(short_lives: int) -> float:
    """Returns the seconds to wait after so many early ends in a row: none after the
    first, then a quarter of a second, doubled each time up to ten seconds.
    """
    return (
        0.0 if short_lives <= 1 else min(_LONGEST_PAUSE, 0.25 * 2 ** (short_lives - 2))
    )


def keep_earlier(log: Path) -> None:
    """Keeps the log of the last start as NAME.1, and those of the starts before it as
    NAME.2 to NAME.5.
    """
    if not log.stat().st_size:
        return
    for number in (*range(STARTS_KEPT - 1, 0, -1), 0):
        with contextlib.suppress(FileNotFoundError):
            log.with_name(f"{log.name}.{number}").rename(f"{log}.{number + 1}")
    _move(log, Path(f"{log}.1"), os.O_APPEND)


def rotate(log: Path, *, limit: int = LOG_LIMIT) -> None:
    """Moves what a log that is too long has to NAME.0."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > limit:
            _move(log, Path(f"{log}.0"), os.O_TRUNC)


def _move(log: Path, earlier: Path, how: int) -> None:
    """Copies a log to a file, and empties it in place, because its writer keeps it open.
    A line that is written between copying and emptying is lost.
    """
    with contextlib.suppress(OSError), log.open("r+b") as source:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how
        with open(os.open(earlier, flags, 0o600), "wb") as target:
            while part := source.read(1 << 16):
                target.write(part)
        source.truncate(0)


def tail(log: Path, *, lines: int = 15) -> str:
    """Returns the last lines of a log, for a message on the terminal."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            return "\n".join(
                file.read().decode(errors="replace").rstrip().splitlines()[-lines:]
            )
    except OSError:
        return ""


def last_error(log: Path) -> str:
    """Returns the end of a log. If it has a traceback, returns only the error's
    message, which is what people can use.
    """
    text = tail(log, lines=400)
    if "Traceback (most recent call last):" not in text:
        return "\n".join(text.splitlines()[-15:])
    last = text.rpartition("Traceback (most recent call last):")[2].splitlines()
    sentences = [
        line for line in last if line and not line[0].isspace() and ": " in line
    ]
    return sentences[-1].partition(": ")[2] if sentences else "\n".join(last[-15:])


class EmbeddedServer:
    """A server that belongs to one data folder. If not `durable`, it is faster, and its
    data may be lost in a crash.
    """

    name: str
    title: str
    # How long it may take to start; and the signals that end it, each with the seconds
    # to wait before the next.
    start_seconds: float
    end: tuple[tuple[int, float], ...]

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.data = folder / self.name
        self.sockets = socket_folder(folder)
        self.log = log_folder(folder) / f"{self.name}.log"
        self.durable = durable
        self.process: subprocess.Popen[bytes] | None = None
        # How often in a row it did not start, and when to try next (monotonic clock).
        self.failures = 0
        self.not_before = 0.0
        # A fixed environment: PGHOST or LC_* of the caller must not reach the servers.
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C",
            "TZ": "UTC",
        }

    def start(self) -> None:
        """Start the server and return when it accepts connections."""
        raise NotImplementedError

    def stop(self) -> None:
        """Let the server shut down, and use force if that takes too long."""
        if not self.process:
            return
        for signum, seconds in self.end:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signum)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
                break
        self.process = None

    def _run(self, command: Sequence[str], **options: Any) -> None:
        """Starts the server's program, and returns when it accepts connections. `options`
        are further arguments of `spawn`.
        """
        self.process = process = spawn(
            command, environment=self.environment, log=self.log, **options
        )
        deadline = time.monotonic() + self.start_seconds
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise LaunchError(
                    f"{self.title} ended while it started.", details=tail(self.log)
                )
            if self.answers():
                return
            time.sleep(0.01)
        raise LaunchError(
            f"{self.title} was not ready within {self.start_seconds} s.",
            details=tail(self.log),
        )

    def answers(self) -> bool:
        """Whether the server is ready for connections."""
        raise NotImplementedError


def log_folder(data: Path) -> Path:
    """Returns DATA_DIR/log, which it creates for the owner only."""
    folder = data / "log"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def socket_folder(data: Path) -> Path:
    """Returns the folder for Unix sockets, which it creates with mode 0700:
    DATA_DIR/sockets, or a folder in /tmp if that path is too long for sockets.
    """
    usual = data / "sockets"
    if len(os.fsencode(usual)) <= _LONGEST_FOLDER:
        usual.mkdir(mode=0o700, exist_ok=True)
        return usual
    # The name depends only on the data folder, so the next run finds what this one
    # leaves there.
    name = f"countersign-{os.geteuid()}-{zlib.crc32(os.fsencode(data)):08x}{len(os.fsencode(data)):x}"
    folder = Path("/tmp") / name  # noqa: S108 - it is checked below
    # Everybody may write to /tmp, so another user may have created this folder before.
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    # Root gives the servers' folders to the user "nobody" if there are no user
    # namespaces.
    owners = (os.geteuid(), 65534 if os.geteuid() == 0 else -1)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in owners:
        raise LaunchError(
            f"{folder} belongs to another account; remove it, or use a shorter DATA_DIR."
        )
    folder.chmod(0o700)
    return folder
