"""Finds and ends what an earlier run left behind. The caller must hold the data
folder's lock.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

MARKER = "COUNTERSIGN_RUN"


def end_marked(data: Path) -> list[int]:
    """Kills every process that carries this data folder's marker in its environment,
    but not our own ancestors.
    """
    wanted = f"{MARKER}={data}".encode()
    spared = {0}
    pid = os.getpid()
    while pid not in spared:
        spared.add(pid)
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name in brackets may hold anything, so the fields are counted from its
            # end.
            pid = int(
                Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
            )

    def is_marked(pid: int) -> bool:
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return False
        return pid not in spared and wanted in variables

    return _end_all(is_marked)


def end_in_folder(*, comm: str, folder: Path) -> list[int]:
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

    return _end_all(works_there)


def end_group(group: int) -> None:
    """Kills what is left of a dead child's process group, such as a web worker that
    still holds the port.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _end_all(matches: Callable[[int], bool]) -> list[int]:
    """Kills in a loop until none is left, since a dying parent may just have made
    another one.
    """
    ended: list[int] = []
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        running = (int(name) for name in os.listdir("/proc") if name.isdigit())
        found = [pid for pid in running if matches(pid)]
        if not found:
            break
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        ended.extend(pid for pid in found if pid not in ended)
        time.sleep(0.02)
    return ended
