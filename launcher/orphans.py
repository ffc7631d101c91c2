"""Ties a process to its parent, and finds and ends what an earlier run left behind all
the same: for that the caller must hold the data folder's lock.

Safe to import anywhere, also from the web server's and Celery's own processes.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

MARKER = "COUNTERSIGN_RUN"

_PR_SET_PDEATHSIG = 1
# Loaded at import: between fork and exec it would be too late to be safe.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(signum: int = signal.SIGKILL, *, parent: int | None = None) -> None:
    """Asks the kernel for `signum` at the parent's death. Call it in the main thread:
    it is a thread's property. Does nothing where the kernel is not Linux.

    It reaches the direct child only, so a process that a child starts calls this again
    for itself. With `parent` the caller says who it should be; a parent that died before this call
    is noticed by that.
    """
    if _libc is None:
        return
    with contextlib.suppress(OSError):
        _libc.prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def end_marked(data: Path) -> None:
    """Kills every other process that carries this data folder's marker in its
    environment.
    """
    wanted = f"{MARKER}={data}".encode()

    def is_marked(pid: int) -> bool:
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False
        return pid != os.getpid() and wanted in variables

    _end_all(is_marked)


def end_in_folder(*, comm: str, folder: Path) -> None:
    """Kills every process of that name that works in the folder: servers write their
    title over their environment.
    """
    target = str(folder.resolve())

    def works_there(pid: int) -> bool:
        process = Path(f"/proc/{pid}")
        try:
            return (process / "comm").read_text().strip() == comm and os.readlink(
                process / "cwd"
            ) == target
        except OSError:
            return False  # gone, another user's, or a zombie

    _end_all(works_there)


def end_group(group: int) -> None:
    """Kills what is left of a dead child's process group, such as a web worker that
    still holds the port.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _end_all(matches: Callable[[int], bool]) -> None:
    """Kills in a loop until none is left, since a dying parent may just have made
    another one.
    """
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        running = (int(name) for name in os.listdir("/proc") if name.isdigit())
        found = [pid for pid in running if matches(pid)]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
