"""Copies of this code in other folders."""

import shutil

from launcher.paths import ROOT
from tests.commands import run_command


def copy_code(folder):
    """Copy this code, as a fresh clone has it, without the tests. It uses the packages
    that are installed here.
    """
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    files = run_command(listed, cwd=ROOT, check=True).stdout.split("\0")
    for name in files:
        if name and not name.startswith("tests/") and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for installed in (".venv", ".servers"):
        (folder / installed).symlink_to(ROOT / installed)
    return folder
