"""Hosts in network namespaces, on one bridge: `with lan(...)`. Each has a host name, an
address and processes of its own. Only root can make them.
"""

import contextlib
import ctypes
import os
import signal
import subprocess

from launcher.paths import ROOT
from tests.commands import run_command
from tests.supervised import Supervised

_FOLDER = "/var/run/netns"


def _ip(*arguments):
    done = run_command(["ip", *arguments])
    assert done.returncode == 0, done.stderr
    return done.stdout


class Lan:
    """A bridge in a namespace, in which the test itself is, and hosts on it."""

    def __init__(self, address):
        self._prefix = f"cs{os.getpid()}"
        self._names = []
        self.edge = self._add("edge")
        _ip("-n", self.edge, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self.edge, "addr", "add", f"{address}/24", "dev", "bridge")
        _ip("-n", self.edge, "link", "set", "bridge", "up")

    def _add(self, name):
        namespace = f"{self._prefix}-{name}"
        _ip("netns", "add", namespace)
        self._names.append(namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")
        return namespace

    def add_host(self, name, address):
        """Make a namespace with this address; return its name."""
        namespace = self._add(name)
        ends = ("peer", "name", "eth0", "netns", namespace)
        _ip("-n", self.edge, "link", "add", name, "type", "veth", *ends)
        _ip("-n", self.edge, "link", "set", name, "master", "bridge", "up")
        _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        return namespace

    def plug(self, name, state):
        """Set the host's end at the bridge "up" or "down"."""
        _ip("-n", self.edge, "link", "set", name, state)

    def stop(self):
        for namespace in self._names:
            for pid in _ip("netns", "pids", namespace).split():
                with contextlib.suppress(ProcessLookupError):
                    if int(pid) != os.getpid():
                        os.kill(int(pid), signal.SIGKILL)
            _ip("netns", "del", namespace)


@contextlib.contextmanager
def inside(namespace):
    """Run the block, and the threads and processes that it starts, in a namespace."""
    set_namespace = ctypes.CDLL(None, use_errno=True).setns
    with (
        open("/proc/thread-self/ns/net") as before,
        open(f"{_FOLDER}/{namespace}") as it,
    ):
        assert set_namespace(it.fileno(), 0) == 0
        try:
            yield
        finally:
            assert set_namespace(before.fileno(), 0) == 0


def on_host(namespace, name):
    """Return the command before one that runs there under the host name."""
    renamed = ("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name)
    return ["nsenter", f"--net={_FOLDER}/{namespace}", *renamed]


class Host(Supervised):
    """A host with the processes of the product that `runs` names."""

    def __init__(self, lan, name, address, *, folder, env, runs):
        folder.mkdir()
        self.lan = lan
        self.name = name
        self.folder = folder
        self.runs = runs
        self.root = ROOT
        self.started = {}
        self.env = {**env, "DATA_DIR": str(folder / "data")}
        self._namespace = lan.add_host(name, address)

    def run(self, *arguments, root=None, **variables):
        command = [str((root or self.root) / "run"), *arguments]
        return run_command(
            [*on_host(self._namespace, self.name), *command], env=self.env | variables
        )

    def prepare(self, **variables):
        done = self.run("process", "prepare", **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self):
        """Start all its processes, without waiting for them."""
        for name in self.runs:
            self.started[name] = subprocess.Popen(
                [
                    *on_host(self._namespace, self.name),
                    *(str(self.root / "run"), "process", name),
                ],
                env=self.env,
                stdout=(self.folder / f"{name}.out").open("ab"),
                stderr=subprocess.STDOUT,
            )

    def is_healthy(self, name):
        done = self.run("healthy", name)
        (self.folder / "healthy.out").write_text(done.stdout + done.stderr)
        return done.returncode == 0

    def wait(self):
        """Until all its processes are healthy."""
        for name in self.runs:
            self.wait_for(
                lambda name=name: self.is_healthy(name), 180, f"{name} of {self.name}"
            )

    def end(self):
        """Stop its processes as systemd does."""
        for process in self.started.values():
            process.terminate()
        for process in self.started.values():
            process.wait(30)
        self.started.clear()

    def die(self):
        """Lose power: no connection is closed, and nothing runs any more."""
        self.lan.plug(self.name, "down")
        # The parser has left the namespace for one without any network.
        for process in self.started.values():
            process.kill()
        for pid in _ip("netns", "pids", self._namespace).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        for process in self.started.values():
            process.wait(30)
        self.started.clear()
