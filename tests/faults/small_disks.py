"""File systems in memory, which are soon full."""

import contextlib
import subprocess

import pytest

from tests.commands import run_command


@contextlib.contextmanager
def small_disk(folder, size):
    """Mount a separate file system of this size at a new folder."""
    folder.mkdir()
    mount = [
        "mount",
        "-t",
        "tmpfs",
        "-o",
        f"size={size},mode=755",
        "none",
        str(folder),
    ]
    if run_command(mount).returncode:
        pytest.skip("This machine lets nobody mount a small file system.")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
