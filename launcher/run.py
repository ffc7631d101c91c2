"""The verbs that start, stop and empty a run: `./run`, `./run gateway`, `./run stop`, `./run reset`."""

import contextlib
import os
import resource
import signal
import sys
import time
from pathlib import Path

from launcher import data_folder, environment, orphans
from launcher.environment import Environment
from launcher.errors import LaunchError, StopRequested
from launcher.screen import complain, say
from launcher.servers import log_folder
from launcher.signals import Signals
from launcher.supervisor import Supervisor
from launcher.welcome import welcome

_STOP_SECONDS = 10
_OPEN_FILES = 65_536
_READY = b"\0"


def start(arguments: list[str], *, product: str | None = None) -> int:
    """Starts everything; stays until a signal comes, or with --detach until everything is ready."""
    detach = "--detach" in arguments
    if unknown := [argument for argument in arguments if argument != "--detach"]:
        raise LaunchError(f"./run does not know {unknown[0]!r}; ./run help lists what it does.", status=2)
    asked = environment.read(os.environ, product=product)
    verb = "gateway" if asked.product == "gateway" else "start"
    return _start_detached(asked, verb) if detach else _supervise(asked, verb)


def _allow_many_connections() -> None:
    """Raise the limit of open files, which the processes inherit: many systems begin with fewer than connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def _supervise(asked: Environment, verb: str, *, ready_pipe: int | None = None) -> int:
    _allow_many_connections()
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
                _let_go(asked, ready_pipe)
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


def _start_detached(asked: Environment, verb: str) -> int:
    """The run goes on in a process of its own session; this one relays what it says until it is ready."""
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        os._exit(_detached(asked, verb, write))
    os.close(write)
    signal.signal(signal.SIGINT, lambda *_: os.kill(pid, signal.SIGTERM))
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    ready = False
    while chunk := os.read(read, 4096):
        ready = ready or _READY in chunk
        with contextlib.suppress(OSError):  # nobody reads it any more
            os.write(1, chunk.replace(_READY, b""))
    if ready:
        say("\nIt goes on by itself; ./run stop ends it.")
        return 0
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) or 1


def _detached(asked: Environment, verb: str, pipe: int) -> int:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(pipe, 1)
    os.dup2(pipe, 2)
    os.close(null)
    try:
        return _supervise(asked, verb, ready_pipe=pipe)
    except LaunchError as error:
        complain(error)
        return error.status
    except BaseException:  # noqa: BLE001 there is nobody above to show it
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()


def _let_go(asked: Environment, pipe: int) -> None:
    """Ready: the waiting process is told, and from now on the run's own lines go to its log."""
    sys.stdout.flush()
    os.write(pipe, _READY)
    log = os.open(log_folder(asked.data) / "run.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.close(pipe)


def stop(arguments: list[str]) -> int:
    """Ends whatever run holds the data folder, and returns when nothing of it is left."""
    _refuse_arguments("stop", arguments, known=())
    data = environment.read_data_folder(os.environ)
    if not data_folder.is_held(data):
        say("Nothing runs.")
        return 0
    _end_holder(data)
    say("stopped")
    return 0


def _end_holder(data: Path) -> None:
    for signum, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, 2)):
        # Written right after the lock was taken, and true as long as it is held.
        pid = data_folder.read_state(data).get("pid")
        if isinstance(pid, int) and data_folder.is_held(data):
            with contextlib.suppress(ProcessLookupError):
                _signal(pid, signum, data)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not data_folder.is_held(data):
                return
            time.sleep(0.05)
    raise LaunchError(f"The run that holds {data} could not be ended.")


def _signal(pid: int, signum: int, data: Path) -> None:
    try:
        os.kill(pid, signum)
    except PermissionError as error:
        raise LaunchError(f"The run that holds {data} belongs to another account (process {pid}).") from error


def reset(arguments: list[str]) -> int:
    """Deletes the data folder's contents after asking; whatever runs there is stopped first."""
    _refuse_arguments("reset", arguments, known=("--yes",))
    asked = environment.read(os.environ, pick=lambda count: [1] * count)
    data = asked.data
    if not asked.own_database:
        raise LaunchError("./run reset deletes only the embedded database; DATABASE_URL names one of your own.")
    if not (data / data_folder.LOCK).exists():
        say(f"There is nothing to delete in {data}.")
        return 0
    if "--yes" not in arguments and not _confirmed(data):
        say("Nothing was deleted.")
        return 1
    if data_folder.is_held(data):
        _end_holder(data)
    with data_folder.held(data):
        orphans.end_marked(data)
        orphans.end_in_folder(comm="postgres", folder=data / "postgres")
        orphans.end_in_folder(comm="redis-server", folder=data / "redis")
        data_folder.empty(data)
    say(f"{data} is empty; the next ./run begins anew.")
    return 0


def _confirmed(data: Path) -> bool:
    """Without anybody to answer the answer is no."""
    try:
        return input(f"Delete everything in {data}: messages, decisions, ledger, keys? [y/N] ").strip().lower() in (
            "y",
            "yes",
        )
    except EOFError:
        say()
        return False


def _refuse_arguments(verb: str, arguments: list[str], *, known: tuple[str, ...]) -> None:
    if unknown := [argument for argument in arguments if argument not in known]:
        raise LaunchError(f"./run {verb} does not know {unknown[0]!r}.", status=2)
