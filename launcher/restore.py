"""`./run restore FILE`: a backup into an empty data folder, and into the embedded database or another empty one.

What fails leaves the folder empty again.
"""

import os
import subprocess
from pathlib import Path

from launcher import data_folder, environment, orphans
from launcher.borrow import in_foreground
from launcher.environment import Environment
from launcher.errors import LaunchError
from launcher.paths import PYTHON, ROOT
from launcher.screen import say
from launcher.signals import Signals
from launcher.supervisor import Supervisor

_USAGE = "./run restore FILE [--seals FILE]: FILE is what ./run backup wrote."


def restore(arguments: list[str]) -> int:
    """Checks the backup, takes its keys, starts the servers, and lets Django do the rest."""
    file, seals = _read(arguments)
    asked = environment.read(os.environ)
    with data_folder.held(asked.data):
        if used := data_folder.content(asked.data):
            raise LaunchError(
                f"DATA_DIR: {asked.data} is in use ({', '.join(used[:3])}). A backup is restored into an empty folder: "
                "DATA_DIR=/new/folder ./run restore FILE."
            )
        restored = False
        try:
            (asked.data / data_folder.RESTORING).touch(mode=0o600)
            restored = _restored(asked, file, seals)
        finally:
            if restored:
                (asked.data / data_folder.RESTORING).unlink()
            else:
                data_folder.empty(asked.data)
        if not restored:
            say("Nothing was restored, and nothing is left of the attempt.")
            return 1
    say(f"\nStart it with DATA_DIR={asked.data} and the settings of before: ./run")
    return 0


def _restored(asked: Environment, file: Path, seals: Path | None) -> bool:
    # Asked at the terminal, and before anything else is made.
    unpack = [str(PYTHON), "-m", "dashboard.backup.unpack", str(file), str(asked.data)]
    if subprocess.run(unpack, cwd=ROOT, check=False).returncode:
        return False
    signals = Signals()
    supervisor = Supervisor(asked, signals=signals, verb="restore")
    with signals.caught():
        try:
            variables = supervisor.start_servers()
            supervisor.write_state()
            command = [str(PYTHON), str(ROOT / "manage.py"), "restore", str(file)]
            command += ["--seals", str(seals)] if seals else []
            return in_foreground(command, {name: v for name, v in variables.items() if name != orphans.MARKER}) == 0
        finally:
            supervisor.stop()


def _read(arguments: list[str]) -> tuple[Path, Path | None]:
    match arguments:
        case [file] if not file.startswith("-"):
            return Path(file).expanduser().absolute(), None
        case [file, "--seals", seals] | ["--seals", seals, file]:
            return Path(file).expanduser().absolute(), Path(seals).expanduser().absolute()
    raise LaunchError(_USAGE, status=2)
