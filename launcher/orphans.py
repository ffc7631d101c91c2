"""Makes a process end with its parent, and finds and kills processes that an earlier
run has left behind nevertheless. To kill them, the caller must hold the data folder's
lock.

It can be imported anywhere, also in the processes of the web server and of Celery.
"""

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

# The environment variable of each process of a run; its value is the data folder.
MARKER = "COUNTERSIGN_RUN"

_PR_SET_PDEATHSIG = 1
# Loaded at import: loading a library between fork and exec is not safe.
_libc = ctypes.CDLL(None)


def die_with_parent(signum: int = signal.SIGKILL, *, parent: int | None = None) -> None:
    """Asks the kernel to send `signum` to this process when its parent ends. Call it in
    the main thread.

    It has no effect on children of this process: they must call it themselves. `parent`
    is the expected parent's process id: if that has ended before this call, this
    process ends too.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def end_marked(data: Path) -> None:
    """Kills every other process whose environment has this data folder's marker."""
    wanted = f"{MARKER}={data}".encode()

    def is_marked(pid: int) -> bool:
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False
        return pid != os.getpid() and wanted in variables

    _end_all(is_marked)


def end_in_folder(*names: str, folder: Path) -> None:
    """Kills every process with one of these names whose working directory is the
    folder. This is for servers, which overwrite their environment with a title.
    """
    target = str(folder.resolve())

    def works_there(pid: int) -> bool:
        process = Path(f"/proc/{pid}")
        try:
            return (process / "comm").read_text().strip() in names and os.readlink(
                process / "cwd"
            ) == target
        except OSError:
            return False  # it has ended, or belongs to another user

    _end_all(works_there)


def end_group(group: int) -> None:
    """Kills a process group. If its first process has ended, others may be left, such
    as a web worker that still holds the port.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _end_all(matches: Callable[[int], bool]) -> None:
    """Kills every process whose id matches. It repeats this for up to five seconds
    until none is left, because a process may have started another before it was killed.
    """
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        running = (int(name) for name in os.listdir("/proc") if name.isdigit())
        matching = [pid for pid in running if matches(pid)]
        if not matching:
            return
        for pid in matching:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
