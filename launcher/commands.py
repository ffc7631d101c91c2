"""The commands of `./run` that start, stop or use a run: start, gateway, stop, reset;
manage, backup, bench, restore.

Where a run holds the data folder, manage, backup and bench use its servers; else
servers are started for as long as the command takes.
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from launcher import data_folder, environment, orphans
from launcher.child import log_folder
from launcher.console import LaunchError, complain, say
from launcher.data_folder import DataFolderInUse
from launcher.environment import Environment
from launcher.paths import MANAGE, PYTHON, ROOT
from launcher.supervisor import Signals, StopRequested, Supervisor
from launcher.welcome import welcome

_STOP_SECONDS = 10
_OPEN_FILES = 65_536
_READY = b"\0"


def start(arguments: list[str], *, product: str | None = None) -> int:
    """Starts everything; stays until a signal comes, or with --detach until everything
    is ready.
    """
    _refuse_unknown("", arguments, known=("--detach",))
    asked = environment.read(os.environ, product=product)
    return _start_detached(asked) if "--detach" in arguments else _supervise(asked)


def gateway(arguments: list[str]) -> int:
    """Starts the gateway alone, with its worker."""
    return start(arguments, product="gateway")


def _supervise(asked: Environment, *, ready_pipe: int | None = None) -> int:
    # The limit of open files, which the processes inherit: many systems begin with fewer
    # than connections.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    verb = "gateway" if asked.product == "gateway" else "start"
    signals = Signals()
    status = 0
    with signals.caught(), data_folder.held(asked.data):
        supervisor = Supervisor(asked, signals=signals, verb=verb)
        try:
            supervisor.start()
            for line in welcome(asked):
                say(line)
            if ready_pipe is None:
                say("\nCtrl-C stops it.")
            else:
                # The waiting process returns, and further output goes to the log.
                sys.stdout.flush()
                os.write(ready_pipe, _READY)
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
                log = os.open(log_folder(asked.data) / "run.log", flags, 0o600)
                os.dup2(log, 1)
                os.dup2(log, 2)
                os.close(log)
                os.close(ready_pipe)
            supervisor.watch()
        except StopRequested as stopped:
            # A terminal shows "^C" and stays on that line.
            say("\nstopping" if stopped.signum == signal.SIGINT else "stopping")
            supervisor.stop()
            say("stopped")
            status = 128 + signal.SIGINT if stopped.signum == signal.SIGINT else 0
        finally:
            supervisor.stop()
    return status


def _start_detached(asked: Environment) -> int:
    """Starts the run in a new session; this process relays its output until it is
    ready.
    """
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        os._exit(_detached(asked, write))
    os.close(write)
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: os.kill(pid, signal.SIGTERM))
    ready = False
    while chunk := os.read(read, 4096):
        ready = ready or _READY in chunk
        with contextlib.suppress(OSError):  # nobody reads it any more
            os.write(1, chunk.replace(_READY, b""))
    if ready:
        say("\nIt keeps running in the background; ./run stop ends it.")
        return 0
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) or 1


def _detached(asked: Environment, pipe: int) -> int:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(pipe, 1)
    os.dup2(pipe, 2)
    os.close(null)
    try:
        return _supervise(asked, ready_pipe=pipe)
    except LaunchError as error:
        complain(error)
        return error.status
    except BaseException:  # noqa: BLE001 there is nobody above to show it
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()


def stop(arguments: list[str]) -> int:
    """Stops the run that holds the data folder, and returns when all its processes have
    ended.
    """
    _refuse_unknown(" stop", arguments)
    data = environment.read_data_folder(os.environ)
    if not data_folder.is_held(data):
        say("Nothing is running.")
        return 0
    _end_holder(data)
    say("stopped")
    return 0


def _end_holder(data: Path) -> None:
    for signum, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, 2)):
        # Written right after the lock was taken, and true as long as it is held.
        pid = data_folder.read_state(data).get("pid")
        if isinstance(pid, int) and data_folder.is_held(data):
            try:
                os.kill(pid, signum)
            except ProcessLookupError:
                pass  # it has just ended
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not data_folder.is_held(data):
                return
            time.sleep(0.05)
    raise LaunchError(f"The run that uses {data} could not be stopped.")


def reset(arguments: list[str]) -> int:
    """Deletes the data folder's contents after asking; whatever runs there is stopped
    first.
    """
    _refuse_unknown(" reset", arguments, known=("--yes",))
    asked = environment.read(os.environ, pick=lambda count: [1] * count)
    data = asked.data
    if not asked.own_database:
        raise LaunchError(
            "./run reset deletes only the embedded database; DATABASE_URL names one of your own."
        )
    if not (data / data_folder.LOCK).exists():
        say(f"There is nothing to delete in {data}.")
        return 0
    if "--yes" not in arguments:
        try:
            answer = input(
                f"Delete everything in {data}: messages, decisions, ledger, keys? [y/N] "
            )
        except EOFError:
            # Without a terminal the answer is no.
            answer = ""
            say()
        if answer.strip().lower() not in ("y", "yes"):
            say("Nothing was deleted.")
            return 1
    if data_folder.is_held(data):
        _end_holder(data)
    with data_folder.held(data):
        orphans.end_marked(data)
        orphans.end_in_folder(comm="postgres", folder=data / "postgres")
        orphans.end_in_folder(comm="redis-server", folder=data / "redis")
        data_folder.empty(data)
    say(f"{data} is empty; the next ./run starts from scratch.")
    return 0


def _refuse_unknown(
    verb: str, arguments: list[str], *, known: tuple[str, ...] = ()
) -> None:
    if unknown := [argument for argument in arguments if argument not in known]:
        raise LaunchError(
            f"./run{verb} does not know {unknown[0]!r}; ./run help lists what it does.",
            status=2,
        )


def manage(arguments: list[str]) -> int:
    """Django's command line."""
    return _call([*MANAGE, *arguments], verb="manage")


def backup(arguments: list[str]) -> int:
    """A backup, of a desk that runs or of one at rest."""
    return _call([*MANAGE, "backup", *arguments], verb="backup")


def bench(arguments: list[str]) -> int:
    """The benchmarks, all or by name."""
    return _call([str(PYTHON), "-m", "benchmarks", *arguments], verb="bench")


def _call(command: Sequence[str], *, verb: str) -> int:
    # A manage command needs no ports of its own, so a free one is only looked for where
    # a URL must name one.
    asked = environment.read(os.environ)
    try:
        with data_folder.held(asked.data):
            return _with_own_servers(command, asked, verb)
    except DataFolderInUse as error:
        variables = error.state.get("environment")
        if not isinstance(variables, dict):
            sentence = "A run is being started or stopped; try again in a moment."
            # The status with which the doctor reports that it could not examine the
            # desk.
            raise LaunchError(sentence, status=3) from error
    # Becomes the command, which uses the servers of the run that holds the folder.
    return os.execve(command[0], list(command), {**os.environ, **variables})  # noqa: S606


def _with_own_servers(command: Sequence[str], asked: Environment, verb: str) -> int:
    """Start servers, run the command, and stop them again. The caller holds the data
    folder.
    """
    signals = Signals()
    supervisor = Supervisor(asked, signals=signals, verb=verb)
    with signals.caught():
        try:
            supervisor.sweep()
            variables = supervisor.start_servers()
            supervisor.write_state()
            launcher = os.getpid()
            # At this terminal: it handles Ctrl-C itself.
            process = subprocess.Popen(
                command,
                env={n: v for n, v in variables.items() if n != orphans.MARKER},
                preexec_fn=lambda: orphans.die_with_parent(
                    signal.SIGTERM, parent=launcher
                ),
            )

            def pass_on(signum: int, frame: object) -> None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signum)

            for signum in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(signum, pass_on)
            status = process.wait()
            return status if status >= 0 else 128 - status
        finally:
            supervisor.stop()


def restore(arguments: list[str]) -> int:
    """Checks the backup, takes its keys, starts the servers, and lets Django do the
    rest.
    """
    match arguments:
        case [name] if not name.startswith("-"):
            seals = []
        case [name, "--seals", copy]:
            seals = ["--seals", str(Path(copy).expanduser().absolute())]
        case _:
            raise LaunchError(
                "./run restore FILE [--seals FILE]: FILE is what ./run backup wrote.",
                status=2,
            )
    file = str(Path(name).expanduser().absolute())
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
            # Asks at the terminal, before anything is created.
            module = "dashboard.backup.unpack"
            unpack = [str(PYTHON), "-m", module, file, str(asked.data)]
            command = [*MANAGE, "restore", file, *seals]
            restored = (
                subprocess.run(unpack, cwd=ROOT, check=False).returncode == 0
                and _with_own_servers(command, asked, "restore") == 0
            )
        finally:
            if restored:
                (asked.data / data_folder.RESTORING).unlink()
            else:
                data_folder.empty(asked.data)
        if not restored:
            say("Nothing was restored, and the attempt was cleaned up.")
            return 1
    say(f"\nStart it with DATA_DIR={asked.data} and the previous settings: ./run")
    return 0
