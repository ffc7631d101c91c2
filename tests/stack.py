"""Runs the whole product as a person does, with `./run` and a separate data folder, for
tests that need all of it.

Tests of one process that only use the product share the fixture `stack`. A test that
breaks it on purpose starts its own with `running_stack`.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from itertools import islice
from pathlib import Path

import pytest

from common.credentials import read_credentials
from launcher import child, environment
from launcher.environment import is_free
from launcher.orphans import die_with_parent
from launcher.paths import ROOT
from tests import other_postgresql
from tests.commands import run_command
from tests.prepared import preparing


def wait_for(function, timeout, what, *, report=lambda: ""):
    """Call `function` until it returns something true, and return that. After `timeout`
    seconds, fail with `what` and the text of `report`.

    An AssertionError or OSError counts as "not yet". The pauses between calls grow,
    because calls take processor time from the product.
    """
    deadline = time.monotonic() + timeout
    pause = 0.03
    last = None
    while True:
        try:
            if result := function():
                return result
            last = None
        except (AssertionError, OSError) as error:
            last = error
        if time.monotonic() > deadline:
            because = f" ({last})" if last else ""
            pytest.fail(f"Not within {timeout:g} s: {what}{because}\n{report()}")
        time.sleep(pause)
        pause = min(pause * 1.3, 0.3)


class Stack:
    """One `./run` and its data folder; it can be stopped, killed and started again."""

    def __init__(self, folder, *arguments, **variables):
        """`variables` are set in the environment of `./run`. If none is its database,
        that is a copy of the prepared one, if the embedded PostgreSQL made that.
        """
        self._arguments = arguments
        self._is_prepared = not ("DATABASE_URL" in variables or other_postgresql.FOLDER)
        # A command that starts ./run, such as `unshare`. It must replace itself by
        # ./run.
        self.before = []
        self.data = folder / "data"
        self.output = folder / "run.out"
        self.launcher = None
        # Variables that tests/cluster.py sets for this process must not reach the
        # product.
        excluded = {
            *environment.PRODUCT_VARIABLES,
            "DJANGO_SETTINGS_MODULE",
            "DJANGO_ALLOW_ASYNC_UNSAFE",
        }
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in excluded and not name.startswith("MALLOC_")
        }
        # Ports at which a test may receive webhooks and run proxies. The product may
        # call no other private address, and chooses its own ports from another range.
        tried = random.SystemRandom().sample(range(12_000, 20_000), 500)
        self.hook_port, *self.proxy_ports = ports = [*islice(filter(is_free, tried), 3)]
        allow = {
            "OUTGOING_ALLOW": ",".join(f"http://127.0.0.1:{port}" for port in ports)
        }
        self._outer = {
            **inherited,
            **dict.fromkeys(environment.PORTS, "0"),
            "DEMO": "quiet",
            "DATA_DIR": str(self.data),
            **allow,
            **variables,
        }

    def start(self):
        """Start the product, and return when it says that it is ready."""
        parent = os.getpid()
        if self._is_prepared and not self.data.exists():
            self.data.mkdir(mode=0o700, parents=True)
            preparing.copy_to(self.data / "postgres")
            # The file that an earlier run would have left.
            (self.data / "run.lock").touch(mode=0o600)
        with self.output.open("wb") as output:
            self.launcher = subprocess.Popen(
                [*self.before, str(ROOT / "run"), *self._arguments],
                env=self._outer,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: _prepare_launcher(parent),
            )
        self.wait_for(self._is_ready, 240, "./run prints that it is ready")
        return self

    def stop(self, signum=signal.SIGINT):
        """End the product as a person would. Return the launcher's exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.launcher.send_signal(signum)
        return self.launcher.wait(60)

    def is_running(self):
        """Whether its launcher runs."""
        return self.launcher is not None and self.launcher.poll() is None

    def run(self, *arguments):
        """Run `./run` with arguments and the same environment, such as `run("manage",
        "doctor")`. Return the completed process.
        """
        return run_command([str(ROOT / "run"), *arguments], env=self._outer)

    def converse(self, *arguments):
        """Start `./run` as `run` does, but return the running process, with pipes for
        input and output. Closing its input ends it.
        """
        parent = os.getpid()
        return subprocess.Popen(
            [str(ROOT / "run"), *arguments],
            env=self._outer,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: die_with_parent(signal.SIGTERM, parent=parent),
        )

    @property
    def credentials(self):
        """The values of `credentials.env`: addresses, keys, people and passwords."""
        return read_credentials(self.data / "credentials.env")

    @property
    def env(self):
        """The environment of the product's processes: ports, DATABASE_URL, ..."""
        variables = self._state().get("environment")
        assert variables, "the product does not run"
        return variables

    @property
    def url(self):
        """The dashboard's address on this machine."""
        return f"http://127.0.0.1:{self.env['PORT']}"

    def pids(self):
        """The process ids by name: postgres, redis, web, gateway, live, worker-desk,
        worker-out, demo.
        """
        return self._state().get("processes", {})

    def kill(self, name, signum=signal.SIGKILL):
        """Send a signal to one process, and return its id. The launcher starts another
        in its place.
        """
        pid = self.pids()[name]
        os.kill(pid, signum)
        return pid

    def processes(self):
        """Return all processes that belong to this data folder: command line by id."""
        return dict(_processes_of(self.data))

    def log(self, name):
        """Return the whole log of one of the product's processes."""
        try:
            return (self.data / "log" / f"{name}.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def wait_for(self, function, timeout, what):
        """Call the function `wait_for`, with the ends of all logs in its failure."""
        return wait_for(function, timeout, what, report=self.report)

    def report(self):
        """Return the end of the launcher's output and of each log."""
        files = [self.output, *sorted((self.data / "log").glob("*.log"))]
        return "\n".join(
            f"--- {file.name}\n{child.tail(file, lines=12)}"
            for file in files
            if file.exists()
        )

    def _is_ready(self):
        printed = self.output.read_text(errors="replace")
        if self.launcher.poll() is not None:
            pytest.fail(
                f"./run ended with status {self.launcher.returncode}\n{printed}\n{self.report()}"
            )
        return any(line.startswith("ready ") for line in printed.splitlines())

    def _state(self):
        try:
            return json.loads((self.data / "run.json").read_text())
        except (OSError, ValueError):
            return {}


_open = []


@contextlib.contextmanager
def running_stack(tmp_path_factory, *arguments, **variables):
    """Run a separate product until the block ends: `./run` with `arguments`, and
    `variables` in its environment (`DEMO="0"`).
    """
    stack = Stack(tmp_path_factory.mktemp("stack"), *arguments, **variables)
    try:
        stack.start()
        _open.append(stack)
        yield stack
    finally:
        _end(stack)


def _end(stack):
    if stack.is_running():
        # End it as Ctrl-C does. No process of it may remain.
        assert stack.stop() == 130
        assert stack.processes() == {}


def _prepare_launcher(parent):
    """Prepare the launcher's process before it becomes `./run`.

    It then ends with the test process, even if that is killed, and reacts to SIGHUP,
    which would be ignored if the tests run under `nohup`.
    """
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    die_with_parent(signal.SIGTERM, parent=parent)


def group_of(item):
    """Return a test's xdist group, which runs in one process, or None."""
    mark = item.get_closest_marker("xdist_group") if item else None
    return mark.args[0] if mark else None


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """End the products after the last test of the group that shares them, because an
    idle product takes processor time too.
    """
    if "PYTEST_XDIST_WORKER" in os.environ and group_of(item) not in (
        None,
        group_of(nextitem),
    ):
        while _open:
            _end(_open.pop())


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """The shared product with its demo, whose agent sends nothing by itself. Other
    tests use it too, so do not break it.
    """
    with running_stack(tmp_path_factory) as shared:
        yield shared


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Put all tests that use the shared product into one xdist group, so that only one
    process starts a product.
    """
    for item in items:
        if (
            "stack" in getattr(item, "fixturenames", ())
            and item.get_closest_marker("xdist_group") is None
        ):
            item.add_marker(pytest.mark.xdist_group("stack"))


def _processes_of(data):
    """Yield (id, command line) of the processes of a data folder. They have a marker in
    the environment; servers overwrite that, but their working folder is inside.
    """
    marker = f"COUNTERSIGN_RUN={data.resolve()}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            has_marker = marker in (folder / "environ").read_bytes().split(b"\0")
            is_inside = (folder / "cwd").readlink().is_relative_to(data.resolve())
            if has_marker or is_inside:
                yield (
                    int(folder.name),
                    (folder / "cmdline")
                    .read_bytes()
                    .replace(b"\0", b" ")
                    .decode(errors="replace"),
                )
