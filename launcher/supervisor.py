"""Starts all servers and processes in order, keeps them running, and stops them. It has
only one thread: a child is killed when the thread that started it ends (orphans.py).

A signal that asks to stop has an effect only where the launcher pauses. The caller must
hold the data folder.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

from common import disk
from launcher import data_folder, keys, orphans
from launcher.child import (
    LOGS_TO_STDOUT,
    Child,
    EmbeddedServer,
    keep_earlier,
    last_error,
    log_folder,
    pause_before_start,
    rotate,
)
from launcher.console import LaunchError, say
from launcher.environment import PROCESS_VARIABLES, Environment
from launcher.postgres import Servers
from launcher.processes import PREPARE, Process, refuse_used_ports, table

_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_READY_SECONDS = 60
# Celery needs two seconds to shut down. A process that needs longer is killed; a task
# that runs each half minute finds the rows that it was working on.
_END_SECONDS = 2.6
_HOUSEKEEPING_SECONDS = 20
# If a process fails so often before everything is ready, the start is given up.
_MOST_FAILED_STARTS = 5


class StopRequested(Exception):
    """A signal asked the launcher to stop. It is raised only where stopping is safe."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"signal {signum}")
        self.signum = signum


class Signals:
    """Catches the signals that the launcher gets, and lets it wait for them."""

    def __init__(self) -> None:
        self.requested: int | None = None
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """While the block runs, a signal that asks to stop is noted for `pause`, and
        the end of a child ends a pause.
        """
        wanted = {*_STOP, signal.SIGCHLD}
        if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
            # Under nohup it stays ignored.
            wanted.remove(signal.SIGHUP)
        before = {signum: signal.signal(signum, self._note) for signum in wanted}
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def pause(self, seconds: float) -> None:
        """Waits until a signal comes or the time is over. Raises StopRequested if a
        signal asked to stop.
        """
        if self.requested is None:
            select.select([self._read], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read, 512):
                pass
        if self.requested is not None:
            raise StopRequested(self.requested)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        # SIGCHLD only ends the pause.
        if signum in _STOP and self.requested is None:
            self.requested = signum


def process_variables(
    environment: Environment, servers: Mapping[str, str], *, may_make_keys: bool = True
) -> dict[str, str]:
    """Returns the environment of a process of the product. `servers`: the variables
    with the addresses of the servers that it uses.
    """
    return {
        **environment.outside,
        **environment.variables,
        **servers,
        **keys.load_or_make(environment, may_make=may_make_keys),
        **keys.demo_application(environment),
        "PYTHONUNBUFFERED": "1",
        # Bytecode is stored: otherwise each process would compile all modules at every
        # start.
        "PYTHONDONTWRITEBYTECODE": "",
    }


class Supervisor:
    """One run: the embedded servers and the processes of the table."""

    def __init__(
        self, environment: Environment, *, signals: Signals, verb: str
    ) -> None:
        self.environment = environment
        self.signals = signals
        self.verb = verb
        self.children: list[Child] = []
        self.servers = Servers(
            environment.data,
            database=environment.own_database,
            redis=environment.own_redis,
            for_command=verb not in ("start", "gateway"),
        )
        self._is_ready = False
        self._logs = log_folder(environment.data)
        self._variables: dict[str, str] = {}
        self._housekeeping_due = 0.0
        self._is_state_written = True

    def start(self) -> None:
        """Starts everything and returns when all of it answers. Processes that an
        earlier run left behind are killed first.
        """
        data = self.environment.data
        if (data / data_folder.RESTORING).exists():
            raise LaunchError(
                f"A restore into {data} was interrupted. Delete its content (./run reset) and restore again."
            )
        # The process id in an earlier run's state may belong to another process by now.
        data_folder.forget_state(data)
        state = {"pid": os.getpid(), "verb": self.verb}
        if disk.is_full(data):
            with contextlib.suppress(OSError):
                data_folder.write_state(data, state)
            say(
                f"The disk of {data} is full: waiting until {disk.LEAST_FREE // 1024**2} MB are free."
            )
        # Wait instead of failing: after a reboot there may be nobody to start it again.
        while disk.is_full(data):
            self.signals.pause(1.0)
        data_folder.write_state(data, state)
        self.kill_leftovers()
        for log in self._logs.glob("*.log"):
            # Each run begins with empty logs.
            keep_earlier(log)
        plans = table(self.environment)
        refuse_used_ports(self.environment, plans)
        self.start_servers()
        self._prepare()
        self.children += [self._child(plan) for plan in plans]
        for child in self.children:
            child.start()
        self.write_state()
        self._wait_until_ready()
        self._is_ready = True
        self.write_state()

    def start_servers(self) -> dict[str, str]:
        """Starts the embedded servers only. Returns the environment variables for all
        other processes.
        """
        self.servers.start()
        self._variables = process_variables(
            self.environment, self.servers.variables()
        ) | {orphans.MARKER: str(self.environment.data)}
        return self._variables

    def watch(self) -> None:
        """Keeps everything running until a signal asks to stop."""
        while True:
            self.signals.pause(self._check_all())

    def stop(self) -> None:
        """Stops all processes together, and kills those that are left after
        _END_SECONDS. Then stops the embedded servers.
        """
        for child in self.children:
            if child.running:
                with contextlib.suppress(ProcessLookupError):
                    child.running.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _END_SECONDS
        while time.monotonic() < deadline and not all(
            child.has_ended() for child in self.children
        ):
            time.sleep(0.02)
        for child in self.children:
            child.end_now()
        self.servers.stop()
        self.kill_leftovers()
        data_folder.forget_state(self.environment.data)

    def kill_leftovers(self) -> None:
        """Kills all processes of this data folder that this launcher did not end. No
        other launcher runs in it, because this one holds the lock.
        """
        orphans.end_marked(self.environment.data)

    def write_state(self) -> None:
        """Writes what runs into the state file, which a second ./run, ./run stop and
        ./run manage read.
        """
        processes = {
            server.name: server.process.pid
            for server in self.servers.all
            if server.process
        }
        processes |= {
            child.name: child.running.pid for child in self.children if child.running
        }
        # Without the marker of orphans.py: a ./run manage that uses the servers of this
        # run must not be killed with it.
        names = {
            *self.environment.variables,
            *keys.NAMES,
            *PROCESS_VARIABLES,
            *self.servers.variables(),
        }
        data_folder.write_state(
            self.environment.data,
            {
                "pid": os.getpid(),
                "verb": self.verb,
                "is_ready": self._is_ready,
                "url": self.environment.url,
                "processes": processes,
                "environment": {
                    name: self._variables[name]
                    for name in sorted(names & self._variables.keys())
                },
            },
        )

    def _prepare(self) -> None:
        """Runs `prepare` to its end."""
        child = self._child(PREPARE)
        child.start()
        try:
            # However long: an upgrade backs up and migrates years of data.
            while not child.has_ended():
                self.signals.pause(0.05)
            ended_well = child.running and child.running.poll() == 0
        finally:
            child.end_now()
        if not ended_well:
            raise LaunchError(
                f"The database could not be prepared; see {_log_name(child.log)}.",
                details=last_error(child.log),
            )

    def _child(self, plan: Process) -> Child:
        return Child(plan, environment=self._variables, logs=self._logs)

    def _wait_until_ready(self) -> None:
        waiting = [
            (child, check) for child in self.children for check in child.plan.checks
        ]
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            self._check_all()
            for child in self.children:
                if child.short_lives >= _MOST_FAILED_STARTS:
                    raise self._not_ready(child)
            waiting = [(child, check) for child, check in waiting if not check.passes()]
            if not waiting:
                return
            if time.monotonic() > deadline:
                raise self._not_ready(waiting[0][0])
            self.signals.pause(0.05)

    def _not_ready(self, child: Child) -> LaunchError:
        details = last_error(child.log)
        return LaunchError(
            f"{child.name} does not become ready; see {_log_name(child.log)}.",
            details=details,
        )

    def _check_all(self) -> float:
        """Restarts what has ended, and every 20 s cuts logs and kills what hangs.
        Returns how many seconds to pause before the next call.
        """
        changed = [self._restart_server_if_ended(server) for server in self.servers.all]
        changed += [self._restart_child_if_due(child) for child in self.children]
        if any(changed) or not self._is_state_written:
            # On a full disk the old state file stays, and the next call tries again.
            try:
                self.write_state()
                self._is_state_written = True
            except OSError as error:
                if self._is_state_written:
                    say(
                        f"The state of the run cannot be saved: {error.strerror}. Trying again."
                    )
                self._is_state_written = False
        if time.monotonic() >= self._housekeeping_due:
            self._housekeeping_due = time.monotonic() + _HOUSEKEEPING_SECONDS
            for log in self._logs.glob("*.log"):
                rotate(log)
            for child in self.children:
                if child.end_if_hanging():
                    say(f"{child.name} has not responded for a long time")
            if self.servers.parser.end_if_hanging():
                say("The parser has not responded for a long time")
        return 0.1 if any(not child.running for child in self.children) else 1.0

    # Restarts a process if it has ended and its pause is over. Returns whether anything
    # changed.
    def _restart_child_if_due(self, child: Child) -> bool:
        how = child.take_end()
        if how:
            say(f"{child.name} ended ({how}); starting it again")
        if not child.is_due():
            return how is not None
        try:
            child.start()
        except OSError as error:
            child.plan_next_start()
            say(
                f"{child.name} cannot be started: {error.strerror}. {self._about_disk()}Trying again."
            )
        return True

    def _restart_server_if_ended(self, server: EmbeddedServer) -> bool:
        """Restarts a server if it has ended and its pause is over, however often it
        fails, because the other processes need it. Returns whether it tried.
        """
        if server.process and server.process.poll() is None:
            return False
        if time.monotonic() < server.not_before:
            return False
        say(f"{server.name} ended; starting it again")
        try:
            server.start()
            server.failures = 0
        except (LaunchError, OSError) as error:
            server.failures += 1
            pause = pause_before_start(server.failures + 1)
            server.not_before = time.monotonic() + pause
            say(f"{error} {self._about_disk()}Trying again.")
        return True

    def _about_disk(self) -> str:
        return "The disk is full. " if disk.is_full(self.environment.data) else ""


def _log_name(log: Path) -> str:
    return "the lines above" if LOGS_TO_STDOUT else str(log)
