"""`./run manage`, `./run backup` and `./run bench`: one command in the environment of the product.

Where a run holds the data folder its servers are used, else servers are started for as long as the command takes.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import NoReturn

from launcher import data_folder, environment, orphans
from launcher.data_folder import HeldByAnother
from launcher.environment import Environment
from launcher.errors import LaunchError
from launcher.paths import PYTHON, ROOT
from launcher.pdeathsig import die_with_parent
from launcher.signals import Signals
from launcher.supervisor import Supervisor


def manage(arguments: list[str]) -> int:
    """Django's command line."""
    return _call([str(PYTHON), str(ROOT / "manage.py"), *arguments], verb="manage")


def backup(arguments: list[str]) -> int:
    """A backup, of a desk that runs or of one at rest."""
    return _call([str(PYTHON), str(ROOT / "manage.py"), "backup", *arguments], verb="backup")


def bench(arguments: list[str]) -> int:
    """The benchmarks, all or by name."""
    return _call([str(PYTHON), "-m", "benchmarks", *arguments], verb="bench")


def _call(command: Sequence[str], *, verb: str) -> int:
    # A manage command needs no ports of its own, so a free one is only looked for where a URL must name one.
    asked = environment.read(os.environ)
    try:
        with data_folder.held(asked.data):
            return _with_own_servers(command, asked, verb)
    except HeldByAnother as error:
        variables = error.state.get("environment")
        if not isinstance(variables, dict):
            sentence = "A run is just being started or stopped; try again in a moment."
            # As the doctor says that it could not look.
            raise LaunchError(sentence, status=3) from error
    return _become(command, variables)


def _become(command: Sequence[str], variables: Mapping[str, str]) -> NoReturn:
    """Nothing of the launcher is needed any more: the run that holds the folder has what the command uses."""
    os.execve(command[0], list(command), {**os.environ, **variables})  # noqa: S606


def _with_own_servers(command: Sequence[str], asked: Environment, verb: str) -> int:
    signals = Signals()
    supervisor = Supervisor(asked, signals=signals, verb=verb)
    with signals.caught():
        try:
            supervisor.sweep()
            variables = supervisor.start_servers()
            supervisor.write_state()
            return in_foreground(command, {name: value for name, value in variables.items() if name != orphans.MARKER})
        finally:
            supervisor.stop()


def in_foreground(command: Sequence[str], variables: Mapping[str, str]) -> int:
    """Runs it at this terminal. Ctrl-C reaches it directly, and it decides what that means; then the servers stop."""
    launcher = os.getpid()
    process = subprocess.Popen(
        command, env=dict(variables), preexec_fn=lambda: die_with_parent(signal.SIGTERM, parent=launcher)
    )

    def pass_on(signum: int, frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signum)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGHUP, pass_on)
    status = process.wait()
    return status if status >= 0 else 128 - status
