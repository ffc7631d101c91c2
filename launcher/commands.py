"""The commands of `./run` that start, stop or use the product: start, gateway, stop and
reset; manage, backup, bench and restore.

manage, backup and bench use the servers of the run that holds the data folder. If there
is none, they start servers and stop them at their end.
"""

import contextlib
import os
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
from launcher.postgres import REDIS_PROGRAMS
from launcher.single import allow_open_files
from launcher.supervisor import Signals, StopRequested, Supervisor
from launcher.welcome import welcome

# How long `./run stop` waits before it kills the run.
_STOP_SECONDS = 10
# The byte with which a detached run tells the waiting process that everything is ready.
_READY = b"\0"


def start(arguments: list[str], *, product: str | None = None) -> int:
    """Starts everything and keeps it running until a signal comes. With --detach it
    returns when everything is ready.
    """
    _refuse_unknown("", arguments, known=("--detach",))
    settings = environment.read(os.environ, product=product)
    return (
        _start_detached(settings) if "--detach" in arguments else _supervise(settings)
    )


def gateway(arguments: list[str]) -> int:
    """Starts the gateway alone, with its worker."""
    return start(arguments, product="gateway")


# Runs the product until a signal comes, and returns the exit status. If there is a
# `ready_pipe`, a byte is written to it when everything is ready.
def _supervise(settings: Environment, *, ready_pipe: int | None = None) -> int:
    allow_open_files()
    verb = "gateway" if settings.product == "gateway" else "start"
    signals = Signals()
    status = 0
    with signals.caught(), data_folder.held(settings.data):
        supervisor = Supervisor(settings, signals=signals, verb=verb)
        try:
            supervisor.start()
            for line in welcome(settings):
                say(line)
            if ready_pipe is None:
                say("\nCtrl-C stops it.")
            else:
                # The process that waits at the terminal returns now, and further output
                # goes to the log.
                sys.stdout.flush()
                os.write(ready_pipe, _READY)
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
                log = os.open(log_folder(settings.data) / "run.log", flags, 0o600)
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


def _start_detached(settings: Environment) -> int:
    """Starts the run in a new session. This process prints the run's output until it is
    ready.
    """
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        os._exit(_detached(settings, write))
    os.close(write)
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, lambda *_: os.kill(pid, signal.SIGTERM))
    ready = False
    while chunk := os.read(read, 4096):
        ready = ready or _READY in chunk
        with contextlib.suppress(OSError):  # the terminal may be closed
            os.write(1, chunk.replace(_READY, b""))
    if ready:
        say("\nIt keeps running in the background; ./run stop ends it.")
        return 0
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) or 1


# In the forked process: runs the product in a session of its own, with its output in
# the pipe.
def _detached(settings: Environment, pipe: int) -> int:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(pipe, 1)
    os.dup2(pipe, 2)
    os.close(null)
    try:
        return _supervise(settings, ready_pipe=pipe)
    except LaunchError as error:
        complain(error)
        return error.status
    except BaseException:  # noqa: BLE001 there is nobody above to show it
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()


def stop(arguments: list[str]) -> int:
    """Stops the run that holds the data folder. Returns when all its processes have
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


# Ends the launcher that holds the data folder: with SIGTERM, then with SIGKILL.
def _end_holder(data: Path) -> None:
    for signum, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, 2)):
        # The run wrote this right after it took the lock, and it is true while the lock
        # is held.
        pid = data_folder.read_state(data).get("pid")
        if isinstance(pid, int) and data_folder.is_held(data):
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, signum)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not data_folder.is_held(data):
                return
            time.sleep(0.05)
    raise LaunchError(f"The run that uses {data} could not be stopped.")


def reset(arguments: list[str]) -> int:
    """Deletes everything in the data folder, after asking. A run that uses it is
    stopped first.
    """
    _refuse_unknown(" reset", arguments, known=("--yes",))
    settings = environment.read(os.environ, pick=lambda count: [1] * count)
    data = settings.data
    if not settings.own_database:
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
        orphans.end_in_folder("postgres", folder=data / "postgres")
        orphans.end_in_folder(*REDIS_PROGRAMS, folder=data / "redis")
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
    """Runs Django's command line."""
    return _call([*MANAGE, *arguments], verb="manage")


def backup(arguments: list[str]) -> int:
    """Makes a backup, whether the desk runs or not."""
    return _call([*MANAGE, "backup", *arguments], verb="backup")


def bench(arguments: list[str]) -> int:
    """Runs the benchmarks, all or those that are named."""
    return _call([str(PYTHON), "-m", "benchmarks", *arguments], verb="bench")


# Runs a command with the servers of the run that holds the data folder, or with servers
# of its own if there is none.
def _call(command: Sequence[str], *, verb: str) -> int:
    # These commands open no ports. A free port is only chosen if a setting says 0.
    settings = environment.read(os.environ)
    try:
        with data_folder.held(settings.data):
            return _with_own_servers(command, settings, verb)
    except DataFolderInUse as error:
        variables = error.state.get("environment")
        if not isinstance(variables, dict):
            sentence = "A run is being started or stopped; try again in a moment."
            # With status 3 the command doctor reports that it could not examine the
            # desk.
            raise LaunchError(sentence, status=3) from error
    # This process becomes the command, with the addresses of the run's servers.
    return os.execve(command[0], list(command), {**os.environ, **variables})  # noqa: S606


def _with_own_servers(command: Sequence[str], settings: Environment, verb: str) -> int:
    """Starts servers, runs the command, stops them, and returns the command's status.
    The caller must hold the data folder.
    """
    signals = Signals()
    supervisor = Supervisor(settings, signals=signals, verb=verb)
    with signals.caught():
        try:
            # What an earlier run left there may name another process by now.
            data_folder.write_state(settings.data, {"pid": os.getpid(), "verb": verb})
            supervisor.kill_leftovers()
            variables = supervisor.start_servers()
            supervisor.write_state()
            launcher = os.getpid()
            # It shares this terminal, so it handles Ctrl-C itself.
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
    """Restores a backup into an empty data folder: unpacks it with its keys, starts the
    servers, and lets Django's command `restore` do the rest. If anything fails, the
    data folder is emptied again.
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
    settings = environment.read(os.environ)
    with data_folder.held(settings.data):
        if used := data_folder.content(settings.data):
            raise LaunchError(
                f"DATA_DIR: {settings.data} is in use ({', '.join(used[:3])}). A backup is restored into an empty "
                "folder: DATA_DIR=/new/folder ./run restore FILE."
            )
        restored = False
        try:
            (settings.data / data_folder.RESTORING).touch(mode=0o600)
            # Asks for the passphrase at the terminal, before anything is created.
            module = "dashboard.backup.unpack"
            unpack = [str(PYTHON), "-m", module, file, str(settings.data)]
            command = [*MANAGE, "restore", file, *seals]
            restored = (
                subprocess.run(unpack, cwd=ROOT).returncode == 0
                and _with_own_servers(command, settings, "restore") == 0
            )
        finally:
            if restored:
                (settings.data / data_folder.RESTORING).unlink()
            else:
                data_folder.empty(settings.data)
        if not restored:
            say("Nothing was restored, and the attempt was cleaned up.")
            return 1
    say(f"\nStart it with DATA_DIR={settings.data} and the previous settings: ./run")
    return 0
