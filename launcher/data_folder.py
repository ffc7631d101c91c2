"""The data folder (DATA_DIR): checks whether this launcher may use it, locks it, and
reads and writes the state file in which the launcher that holds it describes its run.

Only one launcher at a time holds the folder, with flock: the kernel releases that lock
however the process ends.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.credentials import replace_private
from launcher.console import LaunchError
from launcher.paths import read_object, remove

LOCK = "run.lock"
STATE = "run.json"
# This file exists during a restore. If a start finds it, the restore was interrupted.
RESTORING = "restoring"


class DataFolderInUse(LaunchError):
    """Another launcher holds the data folder. `state` is what that has written about
    its run; empty if it has not yet.
    """

    def __init__(self, data: Path) -> None:
        self.state = read_state(data)
        verb = self.state.get("verb", "start")
        if verb not in ("start", "gateway"):
            text = f"./run {verb} is using {data}; try again when it has finished."
        else:
            url = self.state.get("url", "it is being started or stopped")
            text = f"Countersign is already running: {url} (./run stop ends it)."
        super().__init__(text)


def claim(data: Path) -> None:
    """Creates the folder, for its owner only. Refuses a folder with other files in it,
    because `./run reset` would delete them.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The keys of another host may be here before the first start.
        strange = [name for name in content(data) if name != "secrets.env"]
    except OSError as error:
        raise LaunchError(
            f"DATA_DIR: {data} cannot be used: {error.strerror}."
        ) from error
    if strange and not (data / LOCK).exists():
        raise LaunchError(
            f"DATA_DIR: {data} contains other files ({', '.join(strange[:3])}); choose an empty or new folder."
        )
    (data / LOCK).touch(mode=0o600)
    owner = (data / LOCK).stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        # The owner could not use the files that root would create in it.
        raise LaunchError(
            f"DATA_DIR: {data} is used by the account with id {owner}; run ./run as that account."
        )


@contextlib.contextmanager
def held(data: Path) -> Iterator[None]:
    """Holds the folder while the block runs. Raises DataFolderInUse at once if another
    launcher holds it.
    """
    claim(data)
    # Children must not inherit it (O_CLOEXEC): an orphan would keep the folder locked.
    descriptor = os.open(data / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for is_last in (False, False, True):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if is_last:
                    raise DataFolderInUse(data) from None
                time.sleep(0.05)  # is_held locks for a moment too
        yield
    finally:
        os.close(descriptor)


def is_held(data: Path) -> bool:
    """Whether a launcher holds the folder at this moment."""
    try:
        descriptor = os.open(data / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def content(data: Path) -> list[str]:
    """Returns the names in the folder, except the lock: none in a new folder, and after
    a reset.
    """
    return sorted(
        entry.name for entry in data.iterdir() if entry.name not in (LOCK, "lost+found")
    )


def empty(data: Path) -> None:
    """Deletes everything except the lock, which the caller holds. The folder was empty
    when `claim` took it, so everything in it is ours.
    """
    for name in content(data):
        remove(data / name)


def read_state(data: Path) -> dict[str, Any]:
    """Returns what the launcher that holds the folder wrote into the state file. If no
    launcher holds it, the state is out of date.
    """
    return read_object(data / STATE)


def write_state(data: Path, state: dict[str, Any]) -> None:
    """Replaces the state file."""
    replace_private(data / STATE, json.dumps(state, indent=1))


def forget_state(data: Path) -> None:
    """Removes the state file, at the end of a run."""
    (data / STATE).unlink(missing_ok=True)
