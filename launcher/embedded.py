"""What the embedded servers have in common: a data folder, a Unix socket, a log, and
how they start and end.

The caller holds the lock of the data folder; everything here relies on nobody else
starting a server over it.
"""

import contextlib
import os
import stat
import subprocess
import time
import zlib
from pathlib import Path

from launcher.child import tail
from launcher.console import LaunchError

# The path of a Unix socket ends at 107 bytes, and the longest name in the folder is
# ".s.PGSQL.5432.lock".
_LONGEST = 107 - len("/.s.PGSQL.5432.lock")


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
    """DATA_DIR/sockets, or where that is too long a folder of ours in the temporary
    one; 0700 either way.
    """
    own = data / "sockets"
    if len(os.fsencode(own)) <= _LONGEST:
        own.mkdir(mode=0o700, exist_ok=True)
        return own
    # Recognisable: the same data folder always leads to the same place, so what is
    # stale there is found again.
    name = f"countersign-{os.geteuid()}-{zlib.crc32(os.fsencode(data)):08x}{len(os.fsencode(data)):x}"
    bases = [os.environ.get("TMPDIR", "/tmp"), "/tmp", "/dev/shm"]  # noqa: S108 - the folder is checked below
    for base in dict.fromkeys(bases):
        folder = Path(base) / name
        if len(os.fsencode(folder)) <= _LONGEST and os.access(base, os.W_OK | os.X_OK):
            break
    else:
        raise LaunchError(
            f"DATA_DIR is too deep for the servers' sockets ({data}), and there is no temporary folder: use a shorter "
            "path."
        )
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
