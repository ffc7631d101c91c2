"""The child processes of the launcher, and the embedded servers among them: how each is
started, looked after, restarted with back-off, and ended with its descendants; and
their logs, which are never unbounded.

The caller holds the lock of the data folder; the servers rely on nobody else starting
one over it.
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

# After this many looks in a row without a sign, 20 s apart, a process counts as
# hanging. Looks are counted, not time: a launcher that was suspended itself looks again
# before it judges.
SILENT_LOOKS = 3


class Heartbeat:
    """The file of one process."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._last = 0

    def has_beaten(self) -> bool:
        """Whether there was a sign since the last look. Its time is only compared,
        because the clock may jump.
        """
        try:
            beat = self.file.stat().st_mtime_ns
        except OSError:
            beat = 0
        has_beaten = beat != self._last
        self._last = beat
        return has_beaten


# The path of a Unix socket ends at 107 bytes, and the longest name in the folder is
# ".s.PGSQL.5432.lock".
_LONGEST = 107 - len("/.s.PGSQL.5432.lock")
LOG_LIMIT = 10 * 1024 * 1024
# A life shorter than this counts as a failed start.
_SHORT_LIFE = 10.0
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
    """Starts a process in a new session (Ctrl-C reaches the launcher only), with a log,
    that dies with the launcher. `account`: arguments of Popen that choose the user.
    """
    launcher = os.getpid()
    # Append, because the log is truncated in place when it has grown too long.
    descriptor = os.open(
        log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
    )
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
    """Runs a program that does one thing. Raises LaunchError with this sentence and what
    the program says where it fails.
    """
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        **options,
    )
    if result.returncode != 0:
        raise LaunchError(error, details=result.stderr)


class Child:
    """A process and its history."""

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
        """Starts it. It is killed when the launcher dies; unfinished work is found
        again in the database.
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
        """Returns once how it ended, and ends its descendants, which may hold its port
        or queue.
        """
        if self.running is None or (status := self.running.poll()) is None:
            return None
        orphans.end_group(self.running.pid)
        self.running = None
        self.plan_next_start()
        return f"signal {-status}" if status < 0 else f"status {status}"

    def is_due(self) -> bool:
        """Whether it is down and its pause is over."""
        return self.running is None and time.monotonic() >= self._not_before

    def end_if_hanging(self) -> bool:
        """Looks whether it works and answers, and kills it if it has not for long; then
        it is due to start again.
        """
        if self.running is None or time.monotonic() - self.started < _SHORT_LIFE:
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
        """After its end, or a start that failed, which counts as a short life."""
        lived = time.monotonic() - self.started
        self.short_lives = self.short_lives + 1 if lived < _SHORT_LIFE else 0
        self._not_before = time.monotonic() + pause_before_start(self.short_lives)

    def has_ended(self) -> bool:
        """Whether nothing is left to wait for."""
        return self.running is None or self.running.poll() is not None

    def end_now(self) -> None:
        """Kills its whole process group, also if it has ended and a child of it has
        not.
        """
        if self.running:
            orphans.end_group(self.running.pid)
            self.running.wait()
            self.running = None


def pause_before_start(short_lives: int) -> float:
    """No pause the first time, then a quarter of a second, doubled up to ten."""
    return (
        0.0 if short_lives <= 1 else min(_LONGEST_PAUSE, 0.25 * 2 ** (short_lives - 2))
    )


def rotate(log: Path, *, limit: int = LOG_LIMIT) -> bool:
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
            while part := source.read(1 << 16):
                target.write(part)
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


class EmbeddedServer:
    """One server of a data folder; without `durable` it is quick, and nothing in it has
    to last.
    """

    name: str
    title: str
    # How long it may take to start, and the signals that end it, each with how long it
    # is given.
    start_seconds: float
    end: tuple[tuple[int, float], ...]

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self.data = folder / self.name
        self.sockets = socket_folder(folder)
        self.log = log_folder(folder) / f"{self.name}.log"
        self.durable = durable
        self.process: subprocess.Popen[bytes] | None = None
        # How often in a row it did not start, and when it is tried next.
        self.failures = 0
        self.not_before = 0.0
        # Neither PGHOST nor LC_* of the caller may reach the servers or psql.
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C",
            "TZ": "UTC",
        }

    def start(self) -> None:
        """Start it and return when it accepts connections."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it in good order, and by force where that takes too long."""
        if self.process is None:
            return
        for signum, seconds in self.end:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signum)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
                break
        self.process = None

    def _wait_until_ready(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + self.start_seconds
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise LaunchError(
                    f"{self.title} ended while it started.", details=tail(self.log)
                )
            if self._is_ready(process.pid):
                return
            time.sleep(0.01)
        raise LaunchError(
            f"{self.title} was not ready within {self.start_seconds} s.",
            details=tail(self.log),
        )

    def _is_ready(self, pid: int) -> bool:
        raise NotImplementedError


def log_folder(data: Path) -> Path:
    """DATA_DIR/log, for the owner only."""
    folder = data / "log"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def socket_folder(data: Path) -> Path:
    """DATA_DIR/sockets, or where that is too long a folder of ours in /tmp; 0700 either way."""
    own = data / "sockets"
    if len(os.fsencode(own)) <= _LONGEST:
        own.mkdir(mode=0o700, exist_ok=True)
        return own
    # Recognisable: the same data folder always leads to the same place, so what is
    # stale there is found again.
    name = f"countersign-{os.geteuid()}-{zlib.crc32(os.fsencode(data)):08x}{len(os.fsencode(data)):x}"
    folder = Path("/tmp") / name  # noqa: S108 - it is checked below
    # Everybody may write to the folder around it, so somebody else may have made it
    # first.
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    # As root without user namespaces the servers' folders are handed to the account
    # nobody.
    owners = (os.geteuid(), 65534 if os.geteuid() == 0 else -1)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in owners:
        raise LaunchError(
            f"{folder} belongs to another account; remove it, or use a shorter DATA_DIR."
        )
    folder.chmod(0o700)
    return folder
