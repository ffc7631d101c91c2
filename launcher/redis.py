"""The embedded Redis: starts, recovers and stops it. Unix socket only. It holds nudges, never the truth.

The caller holds the lock of the data folder.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

from common import disk
from launcher import logs, orphans
from launcher.errors import LaunchError
from launcher.programs import redis_program
from launcher.screen import say
from launcher.spawn import spawn

_START_SECONDS = 20


class Redis:
    """One server over one folder."""

    name = "redis"

    def __init__(self, *, data: Path, sockets: Path, log: Path, durable: bool = True) -> None:
        self.data = data
        self.socket = sockets / "redis.sock"
        self.log = log
        self.durable = durable
        self.process: subprocess.Popen[bytes] | None = None
        self._program = redis_program()

    def url(self) -> str:
        """The address, over the socket."""
        return f"unix://{quote(str(self.socket))}?db=0"

    def start(self) -> None:
        """Starts the server and returns when it answers. Data that it cannot read is put aside: it is only nudges."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        try:
            self._start()
        except LaunchError:
            # Without room it is not the data that keeps it from starting.
            if not any(self.data.iterdir()) or disk.is_full(self.data):
                raise
            self.stop()
            damaged = self.data.with_name(self.data.name + ".damaged")
            # Of an earlier time. Kept, it would keep Redis down from then on.
            shutil.rmtree(damaged, ignore_errors=True)
            self.data.rename(damaged)
            self.data.mkdir(mode=0o700)
            say(f"redis could not read its data, now in {damaged}; it starts empty")
            self._start()

    def stop(self) -> None:
        """Lets it write its file and end."""
        if self.process is None:
            return
        for signum, seconds in ((signal.SIGTERM, 3), (signal.SIGKILL, 1)):
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signum)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
                break
        self.process = None

    def _start(self) -> None:
        orphans.end_in_folder(comm="redis-server", folder=self.data)
        self.socket.unlink(missing_ok=True)
        self.process = spawn(
            [str(self._program), *self._options()],
            environment={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            log=self.log,
            death_signal=signal.SIGTERM,
            folder=self.data,
        )
        self._wait_until_ready(self.process)

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data),
            # Without its log a kill -9 would lose the queue; with it at most the last second.
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]

    def _wait_until_ready(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise LaunchError("Redis ended while it started.", details=logs.tail(self.log))
            if self._answers():
                return
            time.sleep(0.01)
        raise LaunchError(f"Redis was not ready within {_START_SECONDS} s.", details=logs.tail(self.log))

    def _answers(self) -> bool:
        """Whether it says PONG; while it still loads its file it says so, and that is not yet ready."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(str(self.socket))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
        return False
