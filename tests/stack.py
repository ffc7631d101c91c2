"""The product as a person starts it, for the tests that need all of it: `./run` with a
data folder of its own.

The fixture `stack` is shared by all tests of one process that only use the product. A
test that breaks it on purpose makes one of its own with `running_stack`.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from common.credentials import read_credentials
from launcher import child, environment
from launcher.environment import pick_free_ports
from launcher.orphans import die_with_parent
from launcher.paths import ROOT
from tests.prepared import preparing


def wait_for(function, timeout, what, *, report=lambda: ""):
    """Asks until the answer is true and returns it; when it is late, fails with a
    sentence and what `report` finds.

    An assertion or a connection error counts as "not yet". The pauses grow: to ask
    takes processor time from whoever answers.
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

    def __init__(self, folder, *arguments, prepared=True, **variables):
        """Unless it is to be a first start from nothing, its database is a copy of the
        prepared one.
        """
        self._arguments = arguments
        self._is_prepared = prepared and "DATABASE_URL" not in variables
        # What starts ./run in its place, such as `unshare`; it must end by becoming it.
        self.before = []
        self.data = folder / "data"
        self.output = folder / "run.out"
        self.launcher = None
        # Nothing that tests/cluster.py sets for this process may reach the product.
        ours = {
            *environment.PRODUCT_VARIABLES,
            "DJANGO_SETTINGS_MODULE",
            "DJANGO_ALLOW_ASYNC_UNSAFE",
        }
        outer = {
            name: value
            for name, value in os.environ.items()
            if name not in ours and not name.startswith("MALLOC_")
        }
        # Where a test may listen for webhooks, and as proxies: the product reaches no
        # other private address.
        self.hook_port, *self.proxy_ports = listening = pick_free_ports(3)
        allow = {
            "OUTGOING_ALLOW": ",".join(f"http://127.0.0.1:{port}" for port in listening)
        }
        self._outer = {
            **outer,
            **dict.fromkeys(environment.PORTS, "0"),
            "DEMO": "quiet",
            "DATA_DIR": str(self.data),
            **allow,
            **variables,
        }

    def start(self):
        """Returns when the product says that it is ready."""
        parent = os.getpid()
        if self._is_prepared and not self.data.exists():
            self.data.mkdir(mode=0o700, parents=True)
            preparing.copy_to(self.data / "postgres")
            # As a run before this one would have left it.
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
        """Ends it as a person would, and returns the launcher's exit status."""
        with contextlib.suppress(ProcessLookupError):
            self.launcher.send_signal(signum)
        return self.launcher.wait(60)

    def is_running(self):
        """Whether its launcher lives."""
        return self.launcher is not None and self.launcher.poll() is None

    def run(self, *arguments, timeout=120):
        """Calls `./run` with arguments and the same environment, for instance
        `run("manage", "doctor")`.
        """
        return subprocess.run(
            [str(ROOT / "run"), *arguments],
            env=self._outer,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def converse(self, *arguments):
        """As `run`, but leaves it running, with pipes to talk to it line by line.
        Closing its input ends it.
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
        """What `credentials.env` holds: addresses, keys, people and their passwords."""
        return read_credentials(self.data / "credentials.env")

    @property
    def env(self):
        """The environment that the product's processes got: ports, DATABASE_URL,
        REDIS_URL and so on.
        """
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
        """Sends a signal to one process and returns its id; the launcher starts another
        in its place.
        """
        pid = self.pids()[name]
        os.kill(pid, signum)
        return pid

    def processes(self):
        """Every process of this data folder that exists, however it came to be: its id
        and its command line.
        """
        return dict(_processes_of(self.data))

    def log(self, name):
        """The whole log of a process of this run."""
        try:
            return (self.data / "log" / f"{name}.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def wait_for(self, function, timeout, what):
        """As `wait_for`, with the ends of all logs in the failure."""
        return wait_for(function, timeout, what, report=self.report)

    def report(self):
        """What was printed, and the ends of the logs."""
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
    """A product of one's own, ready: `./run` with `arguments`, and `variables` in its
    environment (`DEMO="0"`).
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
        # As a person ends it, with Ctrl-C: nothing of it may be left.
        assert stack.stop() == 130
        assert stack.processes() == {}


def _prepare_launcher(parent):
    """Prepare the launcher's process, before it becomes `./run`.

    It ends with the test run, also when that is killed. Under `nohup` it would inherit
    that SIGHUP is ignored.
    """
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    die_with_parent(signal.SIGTERM, parent=parent)


def group_of(item):
    """The group whose tests one process runs, one after the other."""
    mark = item.get_closest_marker("xdist_group") if item else None
    return mark.args[0] if mark else None


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """End a product after the last test of the group that shares it: also one that does
    nothing takes time.
    """
    if "PYTEST_XDIST_WORKER" in os.environ and group_of(item) not in (
        None,
        group_of(nextitem),
    ):
        while _open:
            _end(_open.pop())


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    """The shared product with its demo, whose agent writes nothing by itself. Do not
    kill what others use.
    """
    with running_stack(tmp_path_factory) as shared:
        yield shared


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """All that use the shared product go to one test process, or each process would
    start one.
    """
    for item in items:
        if (
            "stack" in getattr(item, "fixturenames", ())
            and item.get_closest_marker("xdist_group") is None
        ):
            item.add_marker(pytest.mark.xdist_group("stack"))


def _processes_of(data):
    """By the marker in the environment, or for servers, which write over theirs, by the
    working folder.
    """
    marker = f"COUNTERSIGN_RUN={data.resolve()}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            marked = marker in (folder / "environ").read_bytes().split(b"\0")
            inside = (folder / "cwd").readlink().is_relative_to(data.resolve())
            if marked or inside:
                yield (
                    int(folder.name),
                    (folder / "cmdline")
                    .read_bytes()
                    .replace(b"\0", b" ")
                    .decode(errors="replace"),
                )
